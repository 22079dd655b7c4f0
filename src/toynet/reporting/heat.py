"""A heat map laid over its picture: bright where the picture speaks for the class, dimmed elsewhere."""

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

_COLOURS = "inferno"
_STRENGTH = 0.65
"""Of the colours where the heat is 1; the picture shows through."""

_GAP_PX = 8


def overlay(pixels: NDArray[np.uint8], heat: NDArray[np.float32]) -> Image.Image:
    """`heat` (h, w) in 0..1 over `pixels` (H, W, 1 or 3), to whose size it is smoothly enlarged."""
    tall, wide, _ = pixels.shape
    smooth = Image.fromarray(heat.astype(np.float32)).resize((wide, tall), Image.Resampling.BICUBIC)
    level = np.asarray(smooth).clip(0, 1)[..., np.newaxis]
    colours = 255 * colormaps[_COLOURS](level[..., 0])[..., :3]
    gray = np.broadcast_to(pixels.mean(axis=2, keepdims=True), (tall, wide, 3))
    # Colour is kept where the heat is; the rest turns gray, so that hot and merely colourful are told apart.
    base = level * pixels + (1 - level) * gray
    mixed = (1 - _STRENGTH * level) * base + _STRENGTH * level * colours
    return Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8))


def side_by_side(pixels: NDArray[np.uint8], heat: NDArray[np.float32]) -> Image.Image:
    """The picture (H, W, 1 or 3), and beside it the same under its heat (h, w)."""
    tall, wide, channels = pixels.shape
    picture = Image.fromarray(pixels if channels == 3 else pixels[..., 0]).convert("RGB")
    sheet = Image.new("RGB", (2 * wide + _GAP_PX, tall), "white")
    sheet.paste(picture, (0, 0))
    sheet.paste(overlay(pixels, heat), (wide + _GAP_PX, 0))
    return sheet
