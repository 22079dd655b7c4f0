"""One look for every picture: colours, sizes, safe text, and a file that is the same on every call.

Colours are Okabe and Ito's, told apart with any colour vision ("Color Universal Design", 2008). Figures
are built without pyplot, so nothing is shown, shared or left open. Class names are shown letter by letter:
mathematical markup is off, and what cannot be printed or stored in XML is replaced.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names

from toynet.core.errors import UsageError
from toynet.core.files import write_atomic

BLUE = "#0072B2"
VERMILION = "#D55E00"
ORANGE = "#E69F00"
GREY = "#6B6B6B"
PALE = "#D9D9D9"
INK = "#222222"

_DPI = 150
_CJK_FONTS = ("Noto Sans CJK SC", "Source Han Sans SC", "PingFang SC", "Microsoft YaHei", "WenQuanYi Zen Hei")

_STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#8C8C8C",
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.unicode_minus": True,
    "figure.facecolor": "white",
    "figure.titlesize": 11,
    "font.size": 9,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.7,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "svg.fonttype": "path",
    "svg.hashsalt": "toynet",
    "text.color": INK,
    "text.parse_math": False,
    "text.usetex": False,
    "xtick.color": INK,
    "xtick.labelsize": 8.5,
    "ytick.color": INK,
    "ytick.labelsize": 8.5,
}


@contextmanager
def canvas(path: Path, width_in: float, height_in: float, *, arrange: bool = True) -> Iterator[Figure]:
    """A figure to draw on, saved at `path` (`.png` or `.svg`) when the block ends.

    `arrange` lets matplotlib place axes and labels; without it the caller places them. Equal drawings give
    equal bytes. Raises `UsageError` for other file names.
    """
    kind = picture_kind(path)
    content = io.BytesIO()
    with styled(width_in, height_in, arrange=arrange) as figure:
        yield figure
        figure.savefig(content, format=kind, dpi=_DPI, metadata=_METADATA[kind])
    write_atomic(path, content.getvalue())


@contextmanager
def styled(width_in: float, height_in: float, *, arrange: bool = True, **style: Any) -> Iterator[Figure]:
    """A figure in the house's look, which holds within the block; `style` overrides parts of it."""
    look: Any = _STYLE | {"font.family": ["DejaVu Sans", *_installed(_CJK_FONTS)]} | style
    with mpl.rc_context(look), warnings.catch_warnings():
        # A name in a script that no installed font has is drawn as boxes; that is not worth a warning.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure((width_in, height_in), layout="constrained" if arrange else None)
        FigureCanvasAgg(figure)
        yield figure


_METADATA: dict[str, dict[str, None]] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}


def picture_kind(path: Path) -> str:
    """`png` or `svg`, from the ending of `path`. Raises `UsageError` for others."""
    kind = path.suffix.lower()[1:]
    if kind not in _METADATA:
        raise UsageError(f"{path}: a picture is saved as .png or .svg")
    return kind


def printable(name: str, longest: int = 24) -> str:
    """`name` as one line of at most `longest` letters; control characters become a question mark box."""
    clean = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
    return clean if len(clean) <= longest else clean[: longest - 1] + "…"


def place(figure: Figure, left_in: float, bottom_in: float, width_in: float, height_in: float) -> Axes:
    """Axes at a place of `figure` given in inches from its lower left corner."""
    width, height = figure.get_size_inches()
    return figure.add_axes((left_in / width, bottom_in / height, width_in / width, height_in / height))


def headline(figure: Figure, text: str) -> None:
    """The bold line at the top left of a figure that the caller arranges."""
    width, height = figure.get_size_inches()
    figure.text(0.12 / width, 1 - 0.2 / height, text, fontsize=11, fontweight="bold", va="center")


def _installed(families: tuple[str, ...]) -> list[str]:
    known = set(get_font_names())
    return [family for family in families if family in known]
