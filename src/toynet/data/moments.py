"""Sums of pixels and of their squares, exact, image by image.

Mean and deviation of any part of a data set follow from them without its pixels being read again.
"""

import numpy as np
from numpy.typing import NDArray

_BLOCK_BYTES = 100_000
"""Of pixels: in 32 bits each they still fit a processor's cache."""


def image_moments(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Sum and sum of squares per channel of images (N, H, W, C), H up to 66,000: (N, 2, C).

    Columns are summed first, which is fast as their numbers lie side by side and 32 bits hold them. Products
    with an indicator of the channel took as long, on threads that waited for each other where cores are busy.
    """
    count, height, width, channels = images.shape
    found = np.empty((count, 2, channels), np.int64)
    each = max(1, _BLOCK_BYTES // (height * width * channels))
    for first in range(0, count, each):
        block = images[first : first + each].reshape(-1, height, width * channels).astype(np.uint32)
        found[first : first + each, 0] = _by_channel(block, channels)
        np.square(block, out=block)
        found[first : first + each, 1] = _by_channel(block, channels)
    return found


def _by_channel(rows: NDArray[np.uint32], channels: int) -> NDArray[np.int64]:
    """Of rows (N, H, W C), the sums of each channel (N, C)."""
    columns = rows.sum(axis=1, dtype=np.uint32).reshape(len(rows), -1, channels)
    return np.asarray(columns.sum(axis=1, dtype=np.int64))


def mean_and_deviation(
    moments: NDArray[np.int64], pixels: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Per channel, (C,) each, from the moments (2, C) of `pixels` pixels; 1 for a constant channel's."""
    total, squares = moments.astype(np.float64)
    mean = total / pixels
    std = np.sqrt(np.maximum(squares / pixels - mean**2, 0.0))
    return mean.astype(np.float32), np.where(std < 1e-6, 1.0, std).astype(np.float32)
