"""A picture of pairs of images, each with how alike the two are."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toynet.core.errors import UsageError
from toynet.data.pixels import resize_images
from toynet.reporting.style import canvas, headline, place, printable

MOST_SHOWN = 600

_COLUMNS = 8
_SIDE_PX = 64
_GAP_PX, _CAPTION_PX = 2, 14
_PAIR_IN = 1.3
_HEAD_IN = 0.4


@dataclass(frozen=True)
class Pair:
    """Two images (H, W, C) and the likeness to write below them."""

    left: NDArray[np.uint8]
    right: NDArray[np.uint8]
    likeness: float


def draw_pairs(pairs: Sequence[Pair], path: Path, title: str) -> None:
    """Draw `pairs` in rows; the first 600, and the headline says so. Raises `UsageError` for none."""
    if not pairs:
        raise UsageError(f"{path}: there are no pairs to draw")
    shown = pairs[:MOST_SHOWN]
    tiles = [_tile(pair) for pair in shown]
    high, wide, _ = tiles[0].shape
    columns = min(len(shown), _COLUMNS)
    rows = -(-len(shown) // columns)
    sheet = np.full((rows * high, columns * wide, 3), 255, np.uint8)
    corners = [(index // columns * high, index % columns * wide) for index in range(len(shown))]
    for (top, left), tile in zip(corners, tiles, strict=True):
        sheet[top : top + high, left : left + wide] = tile
    width_in = max(columns * _PAIR_IN, 6.0)
    height_in = rows * high * _PAIR_IN / wide
    count = f"{len(pairs):,} pairs" + (
        f", of which the first {MOST_SHOWN}" if len(pairs) > MOST_SHOWN else ""
    )
    with canvas(path, width_in + 0.2, height_in + _HEAD_IN + 0.1, arrange=False) as figure:
        headline(figure, f"{printable(title, 60)}: {count}")
        axes = place(figure, 0.12, 0.05, columns * _PAIR_IN, height_in)
        axes.imshow(sheet, interpolation="nearest")
        axes.axis("off")
        for (top, left), pair in zip(corners, shown, strict=True):
            below = top + high - _CAPTION_PX + 1
            axes.text(left, below, f"{pair.likeness:.2f}", va="top", fontsize=7)


def _tile(pair: Pair) -> NDArray[np.uint8]:
    """Both images side by side, on white with room for what stands below."""
    both = np.stack([pair.left, pair.right])
    if max(both.shape[1:3]) > _SIDE_PX:
        both = resize_images(both, _SIDE_PX)
    _, high, wide, _ = both.shape
    tile = np.full((high + _CAPTION_PX, 2 * (wide + _GAP_PX) + 2 * _GAP_PX, 3), 255, np.uint8)
    tile[:high, :wide] = both[0]
    tile[:high, wide + _GAP_PX : 2 * wide + _GAP_PX] = both[1]
    return tile
