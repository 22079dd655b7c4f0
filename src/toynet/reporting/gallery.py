"""Pictures of images: test predictions with their probabilities, and one image augmented many ways."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from toynet.core.errors import UsageError
from toynet.reporting.style import BLUE, GREY, PALE, VERMILION, canvas, headline, place, printable

Pixels = NDArray[np.uint8]

MOST_SHOWN = 24
_TOP = 5
_COLUMNS = 4
_CELL_IN = (2.95, 1.5)
_HEAD_IN = 0.38

_BLUE_TINT = "#9CC9E3"
_VERMILION_TINT = "#F2B58C"


def draw_gallery(
    images: Pixels,
    probabilities: NDArray[np.floating],
    labels: NDArray[np.int64],
    classes: Sequence[str],
    path: Path,
    part: str = "test",
) -> None:
    """Draw predictions: `images` (M, H, W, C) with bars of the five highest `probabilities` (M, K).

    Right and wrong differ by colour, by mark and by word. The first 24 are drawn; `part` is what they are of.
    Raises `UsageError` for no images.
    """
    count = min(len(images), MOST_SHOWN)
    if not count:
        raise UsageError(f"{path}: there are no images to draw")
    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    width, height = columns * _CELL_IN[0], rows * _CELL_IN[1] + _HEAD_IN
    right = probabilities[:count].argmax(axis=1) == labels[:count]
    with canvas(path, width, height, arrange=False) as figure:
        headline(figure, f"{part.capitalize()} predictions: {count - right.sum()} wrong, {right.sum()} right")
        for index in range(count):
            row, column = divmod(index, columns)
            left, bottom = column * _CELL_IN[0], height - _HEAD_IN - (row + 1) * _CELL_IN[1]
            _cell(figure, left, bottom, images[index], probabilities[index], int(labels[index]), classes)


def _cell(
    figure: Figure,
    left_in: float,
    bottom_in: float,
    image: Pixels,
    probabilities: NDArray[np.floating],
    label: int,
    classes: Sequence[str],
) -> None:
    """One prediction in its cell, whose lower left corner lies at the given inches."""
    top = np.argsort(-probabilities, kind="stable")[:_TOP]
    right = int(top[0]) == label
    colour = BLUE if right else VERMILION
    picture = place(figure, left_in + 0.12, bottom_in + 0.14, 1.08, 1.08)
    _show(picture, image)
    picture.spines[:].set(visible=True, color=colour, linewidth=2.2)
    said = "✓ right" if right else "✗ wrong"
    picture.set_title(said, fontsize=9, color=colour, pad=3.5)
    bars = place(figure, left_in + 1.3, bottom_in + 0.1, 1.52, 1.12)
    bars.set_title(f"true: {printable(classes[label], 15)}", fontsize=9, fontweight="normal", pad=3.5)
    tints = {label: _BLUE_TINT, int(top[0]): _BLUE_TINT if right else _VERMILION_TINT}
    bars.barh(range(len(top)), probabilities[top], 0.84, color=[tints.get(int(k), PALE) for k in top])
    for row, k in enumerate(top.tolist()):
        weight = "bold" if k == label else "normal"
        bars.text(0.025, row, printable(classes[k], 15), va="center", fontsize=7.5, fontweight=weight)
        bars.text(1.27, row, f"{100 * probabilities[k]:.0f} %", va="center", ha="right", fontsize=7.5)
    bars.set(xlim=(0, 1.27), ylim=(_TOP - 0.5, -0.5))
    bars.axis("off")
    bars.axvline(0, color=GREY, lw=1)


def draw_preview(
    original: Pixels,
    augmented: Pixels,
    standardised: NDArray[np.floating],
    path: Path,
    title: str,
) -> None:
    """Draw one image (H, W, C), its augmentations (M, H, W, C), and those standardised (M, H, W, C).

    Standardised values have no colour of their own: they are shown with the smallest as black and the
    largest as white, and the caption says so. Raises `UsageError` without augmentations.
    """
    if not len(augmented):
        raise UsageError(f"{path}: there are no augmented images to draw")
    low, high = float(standardised.min()), float(standardised.max())
    shown = np.rint(255 * (standardised - low) / ((high - low) or 1)).astype(np.uint8)
    columns = min(len(augmented), 8)
    rows = -(-len(augmented) // columns)
    ratio = original.shape[0] / original.shape[1]
    tile, alone = 0.92, 1.7
    block = rows * tile * ratio
    width = max(0.3 + alone + 0.3 + columns * tile + 0.15, 6.5)
    height = max(2 * block + 1.2, alone * ratio + 0.85)
    with canvas(path, width, height, arrange=False) as figure:
        headline(figure, printable(title, 100))
        top = height - 0.7
        single = place(figure, 0.12, top - alone * ratio, alone, alone * ratio)
        _show(single, original)
        single.set_title("the image as it is", fontsize=9, fontweight="normal")
        captions = (
            (augmented, f"augmented, {len(augmented)} draws"),
            (
                shown,
                f"the same, standardised; rescaled to be shown: {_signed(low)} black, {_signed(high)} white",
            ),
        )
        for images, caption in captions:
            grid = place(figure, alone + 0.4, top - block, columns * tile, block)
            _show(grid, _mosaic(images, columns))
            grid.set_title(caption, fontsize=9, fontweight="normal")
            top -= block + 0.35


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "\N{MINUS SIGN}")


def _mosaic(images: Pixels, columns: int) -> Pixels:
    """`images` (M, H, W, C) side by side on white, row after row, with a gap of two pixels."""
    count, high, wide, channels = images.shape
    rows = -(-count // columns)
    sheet = np.full((rows * (high + 2) - 2, columns * (wide + 2) - 2, channels), 255, np.uint8)
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        sheet[row * (high + 2) :, column * (wide + 2) :][:high, :wide] = image
    return sheet


def _show(axes: Axes, image: Pixels) -> None:
    """Show (H, W, 1) or (H, W, 3) bytes as they are, pixel by pixel, without ticks."""
    axes.imshow(np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image, interpolation="nearest")
    axes.set_anchor("NW")
    axes.grid(False)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
