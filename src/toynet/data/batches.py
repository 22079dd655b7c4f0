"""The order in which images are seen: a pure function of seed and epoch, cut into batches."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from toynet.core.seeds import stream


def order(
    count: int, *, seed: int, epoch: int, balance: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """A permutation of 0..count-1 for this epoch; with the labels (count,) to `balance`, a balanced choice.

    That is `count` images too, equally many of each class (or one more). Each class goes through its images
    in a random order, again and again, and an epoch goes on where the one before it ended: over the epochs
    every image of a class is seen equally often.
    """
    shuffled = stream(seed, "order", epoch).permutation(count)
    if balance is None:
        return shuffled
    classes = np.unique(balance)
    chosen = []
    for place, label in enumerate(classes.tolist()):
        members = np.flatnonzero(balance == label)
        quota = count // len(classes) + (place < count % len(classes))
        first = epoch * quota
        rounds = range(first // len(members), -(-(first + quota) // len(members)))
        passes = [stream(seed, "balanced", label, number).permutation(members) for number in rounds]
        skip = first - rounds.start * len(members)
        chosen.append(np.concatenate(passes)[skip : skip + quota])
    return np.concatenate(chosen)[shuffled]


def batches(count: int, batch_size: int, *, start: int = 0) -> Iterator[slice]:
    """Positions of the epoch's batches from number `start` on; the last batch may be smaller."""
    for first in range(start * batch_size, count, batch_size):
        yield slice(first, min(first + batch_size, count))


def batch_count(count: int, batch_size: int) -> int:
    """How many batches an epoch has."""
    return -(-count // batch_size)
