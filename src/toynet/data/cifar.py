"""CIFAR-10 and CIFAR-100: 60,000 colour images of 32x32, 50,000 of them for training.

Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009;
https://www.cs.toronto.edu/~kriz/cifar.html. Read from the unpacked binary version, which holds no pickle;
CIFAR-10 from its Python version too. CIFAR-100 has its fine labels. A file may hold any whole number of
images, so that small sets in the same layout can be read as well.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toynet.core.errors import DataError
from toynet.data.images import Dataset, ImageSet
from toynet.data.pickles import read_pickle

SIDE = 32
IMAGE_BYTES = 3 * SIDE * SIDE
OFFICIAL_HOST = "https://www.cs.toronto.edu/~kriz"

Records = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Pixels (N, 3072), all of the red plane first, and labels (N,)."""


@dataclass(frozen=True)
class Variant:
    """What tells one of the two data sets from the other."""

    name: str
    archive: str
    sha256: str
    folder: str
    python_folder: str | None
    class_count: int
    label_bytes: int
    """Bytes before an image's pixels; the last of them is the label."""
    class_file: str
    train_files: tuple[str, ...]
    test_file: str
    most_images: int
    """In one file."""
    mirrors: tuple[str, ...] = (OFFICIAL_HOST,)

    @property
    def record_bytes(self) -> int:
        return self.label_bytes + IMAGE_BYTES

    @property
    def largest_bytes(self) -> dict[str, int]:
        """The files that make up the data set, and the most bytes each may have."""
        images = dict.fromkeys((*self.train_files, self.test_file), self.most_images * self.record_bytes)
        return {self.class_file: 10_000, **images}


CIFAR10 = Variant(
    name="cifar10",
    archive="cifar-10-binary.tar.gz",
    sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    folder="cifar-10-batches-bin",
    python_folder="cifar-10-batches-py",
    class_count=10,
    label_bytes=1,
    class_file="batches.meta.txt",
    train_files=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
    test_file="test_batch.bin",
    most_images=10_000,
)

CIFAR100 = Variant(
    name="cifar100",
    archive="cifar-100-binary.tar.gz",
    sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    folder="cifar-100-binary",
    python_folder=None,
    class_count=100,
    label_bytes=2,
    class_file="fine_label_names.txt",
    train_files=("train.bin",),
    test_file="test.bin",
    most_images=50_000,
)

VARIANTS = {variant.name: variant for variant in (CIFAR10, CIFAR100)}


def read_cifar(variant: Variant, folder: Path) -> Dataset:
    """Read the unpacked `folder`, binary or Python version by its name; `DataError` names a bad file."""
    if folder.name == variant.python_folder:
        classes = _python_classes(folder / "batches.meta")
        train = [_python_records(folder / Path(name).stem) for name in variant.train_files]
        test = _python_records(folder / Path(variant.test_file).stem)
    else:
        classes = _binary_classes(folder / variant.class_file)
        train = [_binary_records(folder / name, variant) for name in variant.train_files]
        test = _binary_records(folder / variant.test_file, variant)
    if len(classes) != variant.class_count or len(set(classes)) != len(classes):
        raise DataError(f"{folder} names {len(set(classes))} classes, not {variant.class_count}")
    names = (*variant.train_files, variant.test_file)
    for name, (_, labels) in zip(names, [*train, test], strict=True):
        if labels.min() < 0 or labels.max() >= variant.class_count:
            raise DataError(f"{folder / name}: label {labels.max()} is outside 0..{variant.class_count - 1}")
    return Dataset(variant.name, _image_set(train, classes), _image_set([test], classes))


def _image_set(records: list[Records], classes: tuple[str, ...]) -> ImageSet:
    images = np.empty((sum(len(pixels) for pixels, _ in records), SIDE, SIDE, 3), np.uint8)
    filled = 0
    for pixels, _ in records:
        planes = pixels.reshape(-1, 3, SIDE, SIDE)
        for channel in range(3):
            images[filled : filled + len(pixels), :, :, channel] = planes[:, channel]
        filled += len(pixels)
    return ImageSet(images, np.concatenate([labels for _, labels in records]), classes)


def _binary_classes(path: Path) -> tuple[str, ...]:
    lines = _content(path).decode("latin1").split("\n")
    return tuple(line.strip() for line in lines if line.strip())


def _binary_records(path: Path, variant: Variant) -> Records:
    raw = np.frombuffer(_content(path), np.uint8)
    if len(raw) == 0 or len(raw) % variant.record_bytes:
        raise DataError(
            f"{path} has {len(raw):,} bytes, not a whole number of images of {variant.record_bytes:,} bytes"
        )
    rows = raw.reshape(-1, variant.record_bytes)
    return rows[:, variant.label_bytes :], rows[:, variant.label_bytes - 1].astype(np.int64)


def _python_classes(path: Path) -> tuple[str, ...]:
    names = read_pickle(path).get("label_names")
    if not isinstance(names, list) or not all(isinstance(name, bytes | str) for name in names):
        raise DataError(f"{path} has no list of label_names")
    return tuple(name.decode("latin1") if isinstance(name, bytes) else name for name in names)


def _python_records(path: Path) -> Records:
    batch = read_pickle(path)
    pixels, labels = batch.get("data"), batch.get("labels")
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != IMAGE_BYTES:
        raise DataError(f"{path} has no data of {IMAGE_BYTES:,} bytes an image")
    if not isinstance(labels, list) or not all(type(label) is int and abs(label) < 1_000 for label in labels):
        raise DataError(f"{path} has no list of class numbers")
    if len(labels) != len(pixels) or not labels:
        raise DataError(f"{path} has {len(labels):,} labels for {len(pixels):,} images")
    return pixels, np.array(labels, np.int64)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
