"""Moving pixels: rotation, shift and mirroring as one affine resampling, and whole-pixel crops.

The affine follows Keras' `ImageDataGenerator` for the same drawn parameters: rotation about the centre,
then shift, bilinear, and the mirror last. (Keras calls its horizontal shift `tx` and draws it from
`height_shift_range`; in images that are not square it also misses the centre. Ours does neither.)
Images are (B, C, H, W) float in channels-last memory.
"""

import math

import torch
import torch.nn.functional as functional
from torch import Tensor

_PADDING = {"nearest": "border", "reflect": "reflection", "zero": "zeros"}


def affine(
    images: Tensor, rotate_deg: Tensor, shift_y: Tensor, shift_x: Tensor, flip: Tensor, fill: str
) -> Tensor:
    """Rotate, shift and mirror each image by its own draw, with one bilinear resampling.

    images: (B, C, H, W) float; rotate_deg, shift_y, shift_x: (B,) float, degrees and fractions of the side;
    flip: (B,) bool; fill: `nearest`, `reflect` or `zero`. Returns (B, C, H, W).
    """
    height, width = images.shape[2:]
    theta = rotate_deg * (math.pi / 180)
    sine, cosine = theta.sin(), theta.cos()
    mirror = 1.0 - 2.0 * flip.to(theta.dtype)
    # A point of the output, in pixels from the centre, comes from R(theta) (point + shift): the sum of a
    # part that depends on its row and one that depends on its column. `grid_sample` counts in half sides.
    y = torch.linspace(1 - height, height - 1, height, device=images.device) / height + 2 * shift_y[:, None]
    x = torch.linspace(1 - width, width - 1, width, device=images.device) / width * mirror[:, None]
    x = x + 2 * shift_x[:, None]
    ratio = height / width
    by_row = torch.stack([-sine[:, None] * y * ratio, cosine[:, None] * y], dim=1)
    by_column = torch.stack([cosine[:, None] * x, sine[:, None] * x / ratio], dim=1)
    grid = (by_row[:, :, :, None] + by_column[:, :, None, :]).permute(0, 2, 3, 1)
    return functional.grid_sample(images, grid, padding_mode=_PADDING[fill], align_corners=False)


def crop_flip(images: Tensor, move_y: Tensor, move_x: Tensor, flip: Tensor) -> Tensor:
    """Mirror each image, then shift it by whole pixels over its own reflection; one gather, no arithmetic.

    images: (B, C, H, W) in channels-last memory; move_y, move_x: (B,) int64 pixels, below the side;
    flip: (B,) bool. Returns (B, C, H, W) in channels-last memory.
    """
    height, width = images.shape[2:]
    device = images.device
    rows = _reflect(torch.arange(height, device=device) + move_y[:, None], height)
    columns = _reflect(torch.arange(width, device=device) + move_x[:, None], width)
    columns = torch.where(flip[:, None], width - 1 - columns, columns)
    pixels = images.permute(0, 2, 3, 1)
    index = torch.arange(len(images), device=device)[:, None, None]
    return pixels[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _reflect(position: Tensor, side: int) -> Tensor:
    """Fold positions outside 0..side-1 back in, without repeating the edge pixel."""
    last = side - 1
    return last - (last - position.abs()).abs()
