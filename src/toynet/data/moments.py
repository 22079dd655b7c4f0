"""Sums of pixels and of their squares, exact, image by image.

Mean and deviation of any part of a data set follow from them without its pixels being read again.
"""

import numpy as np
from numpy.typing import NDArray

_BLOCK_BYTES = 200_000
"""Of pixels: in 64 bits each they still fit a processor's cache."""


def image_moments(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Sum and sum of squares per channel of images (N, H, W, C): (N, 2, C).

    They are found as products with an indicator of the channel, in float64: every partial sum is a whole
    number below 2^53, hence exact in whatever order it is added.
    """
    count, height, width, channels = images.shape
    of_channel = np.tile(np.eye(channels), (height * width, 1))
    found = np.empty((count, 2, channels), np.int64)
    each = max(1, _BLOCK_BYTES // len(of_channel))
    for first in range(0, count, each):
        block = images[first : first + each].reshape(-1, len(of_channel)).astype(np.float64)
        found[first : first + each, 0] = block @ of_channel
        np.square(block, out=block)
        found[first : first + each, 1] = block @ of_channel
    return found


def mean_and_deviation(
    moments: NDArray[np.int64], pixels: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Per channel, (C,) each, from the moments (2, C) of `pixels` pixels; 1 for a constant channel's."""
    total, squares = moments.astype(np.float64)
    mean = total / pixels
    std = np.sqrt(np.maximum(squares / pixels - mean**2, 0.0))
    return mean.astype(np.float32), np.where(std < 1e-6, 1.0, std).astype(np.float32)
