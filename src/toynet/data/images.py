"""Images in memory or mapped from a file: `ImageSet`, and the `Dataset` of its parts."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from mmap import mmap
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from toynet.core.errors import DataError
from toynet.data.moments import image_moments

_CHUNK_BYTES = 1 << 24


class Rows:
    """Images (N, H, W, C) uint8 picked from `source` by row numbers (N,), without a copy.

    Read like the array that they stand for: an index of images (a number, a slice, numbers or truth values)
    gives those images as an array of their own. `numpy.asarray` copies them all.
    """

    ndim = 4
    dtype = np.dtype(np.uint8)

    def __init__(self, source: NDArray[np.uint8], rows: NDArray[np.int64]) -> None:
        self.source, self.rows = source, rows

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.rows), *self.source.shape[1:]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: int | slice | NDArray[np.generic]) -> NDArray[np.uint8]:
        if isinstance(key, tuple):
            raise TypeError("rows are indexed by image; take the images first, as in rows[:]")
        chosen: NDArray[np.uint8] = self.source[self.rows[key]]
        return chosen

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> NDArray[np.generic]:
        if copy is False:
            raise ValueError("rows are copied when they become an array")
        return self[:] if dtype is None else self[:].astype(dtype)


Pixels = NDArray[np.uint8] | Rows


def source_and_rows(images: Pixels) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    """The array that `images` lie in, and which of its rows they are; none where they are all of it."""
    return (images.source, images.rows) if isinstance(images, Rows) else (images, None)


def is_mapped(images: Pixels) -> bool:
    """Whether `images` lie in a file that is mapped, not in memory."""
    owner: object = source_and_rows(images)[0]
    while isinstance(owner, np.ndarray):
        owner = owner.base
    return isinstance(owner, mmap)


def chunks(images: Pixels) -> Iterator[NDArray[np.uint8]]:
    """All of `images` in order, a few MB at a time."""
    each = max(1, _CHUNK_BYTES // max(1, int(np.prod(images.shape[1:]))))
    for first in range(0, len(images), each):
        yield images[first : first + each]


def write_array(file: BinaryIO, images: Pixels) -> None:
    """Write `images` as numpy.save does, a few MB at a time."""
    write_header(file, images.shape)
    for chunk in chunks(images):
        file.write(np.ascontiguousarray(chunk).data)


def write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """What stands before the bytes of a uint8 array in a .npy file."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


@dataclass(frozen=True)
class ImageSet:
    """Labelled images: `images` (N, H, W, C) uint8, `labels` (N,) int64, and the class names.

    Height, width, channels in this order is the memory order that channels-last convolutions read.
    moments: `image_moments` of the images where they are known already, so that a mapped file need not be
    read for them; known_digest: the same for `digest`.
    Raises `DataError` when shapes, dtypes or label values do not fit together.
    """

    images: Pixels
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    moments: NDArray[np.int64] | None = None
    known_digest: str | None = None

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
        """The images at `indices`, in that order, not copied."""
        source, rows = source_and_rows(self.images)
        chosen = Rows(source, indices if rows is None else rows[indices])
        moments = None if self.moments is None else self.moments[indices]
        return ImageSet(chosen, self.labels[indices], self.classes, moments)

    @cached_property
    def digest(self) -> str:
        """sha256 over pixels, labels and class names."""
        if self.known_digest is not None:
            return self.known_digest
        hasher = hashlib.sha256(repr((self.images.shape, self.classes)).encode())
        for chunk in chunks(self.images):
            hasher.update(np.ascontiguousarray(chunk).data)
        hasher.update(np.ascontiguousarray(self.labels).data)
        return hasher.hexdigest()

    def image_moments(self) -> NDArray[np.int64]:
        """Sum and sum of squares of each image's pixels, (N, 2, C)."""
        if self.moments is not None:
            return self.moments
        found = [image_moments(chunk) for chunk in chunks(self.images)]
        return np.concatenate(found) if found else np.zeros((0, 2, self.images.shape[3]), np.int64)


@dataclass(frozen=True)
class Dataset:
    """A named data set. `val` is there only where the source itself sets validation images apart."""

    name: str
    train: ImageSet
    test: ImageSet
    val: ImageSet | None = None

    @property
    def judged(self) -> dict[str, ImageSet]:
        """The parts that the source itself sets apart to take scores from: test, and val if any."""
        return {"test": self.test} | ({"val": self.val} if self.val else {})

    @property
    def classes(self) -> tuple[str, ...]:
        return self.train.classes

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)"""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels
