"""The order in which images are seen: a pure function of seed and epoch, cut into batches."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from toynet.core.seeds import stream


def order(count: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """A permutation of 0..count-1 for this epoch."""
    return stream(seed, "order", epoch).permutation(count)


def batches(count: int, batch_size: int, *, start: int = 0) -> Iterator[slice]:
    """Positions of the epoch's batches from number `start` on; the last batch may be smaller."""
    for first in range(start * batch_size, count, batch_size):
        yield slice(first, min(first + batch_size, count))


def batch_count(count: int, batch_size: int) -> int:
    """How many batches an epoch has."""
    return -(-count // batch_size)
