"""The few SVG elements that a model's picture needs, as text. Coordinates are pixels from the top left."""

from html import escape

INK, SOFT = "#1f2933", "#5b6672"
FONT = "Helvetica Neue, Helvetica, Arial, Liberation Sans, DejaVu Sans, sans-serif"


def text(
    x: float,
    y: float,
    content: str,
    *,
    size: float = 13,
    weight: int = 400,
    colour: str = INK,
    anchor: str = "start",
) -> str:
    """A line of text whose baseline is at `y`; `content` is escaped."""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" font-weight="{weight}" fill="{colour}" '
        f'text-anchor="{anchor}">{escape(content)}</text>'
    )


def rect(
    x: float,
    y: float,
    width: float,
    height: float,
    *,
    fill: str,
    edge: str,
    radius: float = 5,
    stroke: float = 1.2,
) -> str:
    """A rectangle with rounded corners."""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}" '
        f'fill="{fill}" stroke="{edge}" stroke-width="{stroke:g}"/>'
    )


def box(x: float, y: float, width: float, height: float, content: str, *, fill: str, edge: str) -> list[str]:
    """A rectangle with one centred line of text."""
    return [
        rect(x, y, width, height, fill=fill, edge=edge),
        text(x + width / 2, y + height / 2 + 4.5, content, anchor="middle"),
    ]


def arrow(*points: tuple[float, float], colour: str = INK) -> str:
    """A line through `points` that ends in an arrowhead."""
    return line(*points, colour=colour).replace("/>", ' marker-end="url(#head)"/>')


def line(*points: tuple[float, float], colour: str = INK, width: float = 1.4) -> str:
    """A line through `points`."""
    path = "M" + " L".join(f"{x:g} {y:g}" for x, y in points)
    return (
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}" stroke-linejoin="round"/>'
    )


def plus(x: float, y: float, radius: float = 10) -> list[str]:
    """The sign of an addition."""
    arm = radius * 0.5
    return [
        f'<circle cx="{x:g}" cy="{y:g}" r="{radius:g}" fill="#ffffff" stroke="{INK}" stroke-width="1.4"/>',
        line((x - arm, y), (x + arm, y), width=1.6),
        line((x, y - arm), (x, y + arm), width=1.6),
    ]


def dot(x: float, y: float) -> str:
    """Where one line becomes two."""
    return f'<circle cx="{x:g}" cy="{y:g}" r="2.8" fill="{INK}"/>'


def document(width: float, height: float, title: str, elements: list[str]) -> str:
    """A standalone SVG on white, with `title` for those who cannot see it."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" font-family="{FONT}" role="img">'
    )
    marker = (
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7.2" refY="4" markerWidth="6.5" markerHeight="6.5" '
        f'orient="auto"><path d="M0 0.6 L8 4 L0 7.4 Z" fill="{INK}"/></marker></defs>'
    )
    white = f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>'
    return "\n".join([head, f"<title>{escape(title)}</title>", marker, white, *elements, "</svg>"]) + "\n"
