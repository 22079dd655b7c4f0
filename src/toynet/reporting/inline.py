"""matplotlib's SVG made fit to stand inside a page: the page's colours and letters, names of its own.

Text stays text, so it can be read aloud, searched and copied. Colours become variables of the page's style
sheet, so one drawing serves light and dark.
"""

import io
import re
from collections.abc import Callable
from html import escape
from typing import Any

from matplotlib.figure import Figure

from toynet.reporting import style

_COLOURS = {
    style.BLUE: "var(--blue)",
    style.VERMILION: "var(--vermilion)",
    style.ORANGE: "var(--amber)",
    style.GREY: "var(--muted)",
    style.PALE: "var(--rule)",
    style.INK: "var(--ink)",
    "#8C8C8C": "var(--faint)",
    "#E6E6E6": "var(--grid)",
}
_TO_VARIABLES = {colour.lower(): variable for colour, variable in _COLOURS.items()}


def inline(draw: Callable[[Figure], None], width_in: float, height_in: float, *, name: str, told: str) -> str:
    """An `<svg>` of what `draw` draws. name: prefix of its inner names, unlike that of any other drawing on
    the page, of plain letters; told: what it shows, in words, for those who do not see it.
    """
    content = io.StringIO()
    look: dict[str, Any] = {"svg.fonttype": "none", "savefig.transparent": True}
    with style.styled(width_in, height_in, **look) as figure:
        draw(figure)
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    return _fitted(content.getvalue(), name, told)


def _fitted(svg: str, name: str, told: str) -> str:
    body = svg[svg.index("<svg") :]
    body = re.sub(r"\s*<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\s*<style type="text/css">.*?</style>', "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r"#[0-9a-f]{6}\b", lambda found: _TO_VARIABLES.get(found[0], found[0]), body)
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", body)
    body = re.sub(r"font-family: [^;\"]*;?", "", body)
    body = re.sub(r' style="([^"]*)"', _attributes, body)
    body = _renamed(body, name)
    body = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(-?\d+\.\d{2})\d+", r"\1", tag[0]), body)
    box = re.search(r'viewBox="[^"]*"', body)
    assert box is not None
    head = f'<svg class="plot" role="img" aria-label="{escape(told)}" {box[0]}>'
    body = head + body[body.index(">") + 1 :]
    return re.sub(r"\n\s*", "\n", body).strip()


def _attributes(found: re.Match[str]) -> str:
    """A style as presentation attributes, which a page may use whose policy allows no inline style."""
    pairs = (part.partition(":") for part in found[1].split(";") if part.strip())
    return "".join(f' {key.strip()}="{value.strip()}"' for key, _, value in pairs)


def _renamed(body: str, name: str) -> str:
    """Only names that are referred to stay, each with the drawing's prefix."""
    used = set(re.findall(r'(?:xlink:href="#|url\(#)([^")]+)', body))

    def kept(found: re.Match[str]) -> str:
        return f' id="{name}-{found[1]}"' if found[1] in used else ""

    body = re.sub(r' id="([^"]+)"', kept, body)
    body = re.sub(r'xlink:href="#([^"]+)"', rf'href="#{name}-\1"', body)
    return re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", body)
