"""Images in memory: `ImageSet`, and the `Dataset` of its parts."""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from toynet.core.errors import DataError


@dataclass(frozen=True)
class ImageSet:
    """Labelled images: `images` (N, H, W, C) uint8, `labels` (N,) int64, and the class names.

    Height, width, channels in this order is the memory order that channels-last convolutions read.
    Raises `DataError` when shapes, dtypes or label values do not fit together.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise DataError(f"images must be uint8 (N, H, W, C), not {self.images.dtype} {self.images.shape}")
        if self.images.shape[3] not in (1, 3):
            raise DataError(f"images must have 1 or 3 channels, not {self.images.shape[3]}")
        if self.labels.shape != (len(self.images),) or self.labels.dtype != np.int64:
            raise DataError(
                f"labels must be int64 ({len(self.images)},), not {self.labels.dtype} {self.labels.shape}"
            )
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise DataError(
                f"labels must lie in 0..{len(self.classes) - 1}, "
                f"found {self.labels.min()}..{self.labels.max()}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: NDArray[np.int64]) -> "ImageSet":
        """The images at `indices` (copied), in that order."""
        return ImageSet(self.images[indices], self.labels[indices], self.classes)

    @cached_property
    def digest(self) -> str:
        """sha256 over pixels, labels and class names."""
        hasher = hashlib.sha256(repr((self.images.shape, self.classes)).encode())
        hasher.update(np.ascontiguousarray(self.images).data)
        hasher.update(np.ascontiguousarray(self.labels).data)
        return hasher.hexdigest()


@dataclass(frozen=True)
class Dataset:
    """A named data set. `val` is there only where the source itself sets validation images apart."""

    name: str
    train: ImageSet
    test: ImageSet
    val: ImageSet | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)"""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels
