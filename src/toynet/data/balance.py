"""How evenly classes are filled."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toynet.core.wording import counted

UNEVEN = 3.0
"""Times the images of the smallest class, from which on the largest is worth a word."""


@dataclass(frozen=True)
class Balance:
    """The classes with the most and the fewest images, and how many those are."""

    largest: str
    most: int
    smallest: str
    fewest: int

    @property
    def ratio(self) -> float:
        return self.most / self.fewest if self.fewest else float("inf")

    def __str__(self) -> str:
        if self.most == self.fewest:
            return f"every class has {counted(self.most, 'training image')}"
        counts = f"{self.most:,} and {self.fewest:,}"
        return f"{self.largest} has {self.ratio:.1f} times the training images of {self.smallest} ({counts})"


def balance(labels: NDArray[np.int64], classes: tuple[str, ...]) -> Balance:
    """Of `labels` (N,); the first of several classes that have as many."""
    counts = np.bincount(labels, minlength=len(classes))
    most, least = int(counts.argmax()), int(counts.argmin())
    return Balance(classes[most], int(counts[most]), classes[least], int(counts[least]))
