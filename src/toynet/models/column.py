"""A column of layers under one another, as every network's picture has it."""

from toynet.models import svg

FILL = {"conv": "#d3e6f4", "norm": "#fce8c6", "relu": "#d0ece2", "dropout": "#f1dfea", "plain": "#f3f4f6"}
EDGE = {"conv": "#0072b2", "norm": "#c98500", "relu": "#009e73", "dropout": "#b0578d", "plain": "#8a94a0"}
"""Tints of Okabe and Ito's colour-blind-safe palette, by kind of layer."""


class Column:
    """Boxes of one width at `x`, drawn downwards from `y`; the size of what flows stands at every arrow."""

    def __init__(self, x: float, y: float, width: float, *, layer_height: float, gap: float) -> None:
        self.x, self.y, self.width = x, y, width
        self.layer_height, self.gap = layer_height, gap
        self.elements: list[str] = []

    @property
    def middle(self) -> float:
        return self.x + self.width / 2

    def words(self, content: str) -> None:
        """A line of text at the current height."""
        self.elements.append(svg.text(self.middle, self.y, content, size=13.5, anchor="middle"))

    def flow(self, size: str = "") -> None:
        """An arrow downwards, with `size` beside it."""
        self.elements.append(svg.arrow((self.middle, self.y), (self.middle, self.y + self.gap)))
        if size:
            at = self.middle + 12, self.y + self.gap / 2 + 4
            self.elements.append(svg.text(*at, size, size=12, colour=svg.SOFT))
        self.y += self.gap

    def layer(self, kind: str, label: str) -> None:
        """A box in the colour of its `kind`."""
        box = svg.box(self.x, self.y, self.width, self.layer_height, label, fill=FILL[kind], edge=EDGE[kind])
        self.elements.extend(box)
        self.y += self.layer_height
