"""Image files in folders: `train/ [val/] test/` with a folder per class in each, or the classes directly.

Classes are fixed by `train` and matched by name: a part that lacks one or has another is refused, for labels
would shift silently. Where classes lie directly in the folder, a fifth of each one's files is the test set,
drawn by file name from a fixed seed: it stays the same however the run is seeded. Every file counts: one that
cannot be read is an error, not a smaller data set. Names that start with a dot are passed over.

Channels are inferred: images that are all gray, whatever their mode, become one channel, else all are RGB.
"""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toynet.core.errors import DataError, did_you_mean
from toynet.core.reporter import Reporter, Silent
from toynet.core.seeds import stream
from toynet.data.images import Dataset, ImageSet
from toynet.data.pixels import read_pixels

PARTS = ("train", "val", "test")
DEFAULT_SIZE = 32
TEST_SHARE = 0.2
TEST_SEED = 2021
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm"}

ClassFiles = dict[str, list[Path]]


def read_folder(path: Path, size: int | None = None, reporter: Reporter = Silent()) -> Dataset:
    """Read the images below `path`, brought to `size` x `size` pixels (32 if none).

    Raises `DataError` for missing, empty or unknown classes and for files that are no images.
    """
    side = size or DEFAULT_SIZE
    parts = _find_parts(path)
    classes = tuple(parts["train"])
    files = [file for part in parts.values() for group in part.values() for file in group]
    pixels = _without_colour(_decode(files, side, reporter))
    sets: dict[str, ImageSet] = {}
    start = 0
    for name, part in parts.items():
        counts = [len(group) for group in part.values()]
        end = start + sum(counts)
        labels = np.repeat(np.arange(len(classes), dtype=np.int64), counts)
        sets[name] = ImageSet(pixels[start:end], labels, classes)
        start = end
    return Dataset(f"folder:{path}", sets["train"], sets["test"], sets.get("val"))


def _find_parts(path: Path) -> dict[str, ClassFiles]:
    if not path.is_dir():
        raise DataError(f"{path} is not a folder")
    names = [entry.name for entry in _visible(path) if entry.is_dir()]
    if "train" not in names:
        return _split(_two_or_more(_class_files(path), path))
    for name in names:
        if name not in PARTS:
            raise DataError(f"{path}/{name} is none of train, val, test; {did_you_mean(name, PARTS)}")
    if "test" not in names:
        raise DataError(f"{path} has train/ but no test/")
    parts = {name: _class_files(path / name) for name in PARTS if name in names}
    _two_or_more(parts["train"], path / "train")
    for name, part in parts.items():
        for missing in parts["train"].keys() - part.keys():
            raise DataError(f"{path}/{name} has no class {missing}, which train has")
        for unknown in part.keys() - parts["train"].keys():
            near = did_you_mean(unknown, parts["train"])
            raise DataError(f"{path}/{name} has the class {unknown}, which train has not; {near}")
    return parts


def _split(files: ClassFiles) -> dict[str, ClassFiles]:
    train: ClassFiles = {}
    test: ClassFiles = {}
    for name, group in files.items():
        if len(group) < 2:
            raise DataError(f"{group[0].parent} has one image; without train/ and test/ a class needs two")
        count = max(1, round(TEST_SHARE * len(group)))
        order = stream(TEST_SEED, "folder test", name).permutation(len(group))
        chosen = set(order[:count].tolist())
        test[name] = [file for index, file in enumerate(group) if index in chosen]
        train[name] = [file for index, file in enumerate(group) if index not in chosen]
    return {"train": train, "test": test}


def _class_files(path: Path) -> ClassFiles:
    """The files of each class folder in `path`, all in the order of their names."""
    entries = _visible(path)
    for entry in entries:
        if not entry.is_dir() and entry.suffix.lower() in IMAGE_SUFFIXES:
            raise DataError(f"{entry} lies outside the class folders")
    files = {entry.name: _visible(entry) for entry in entries if entry.is_dir()}
    if not files:
        raise DataError(f"{path} has no class folders")
    for name, group in files.items():
        if not group:
            raise DataError(f"{path / name} is empty; a class needs images")
        for file in group:
            if not file.is_file():
                raise DataError(f"{file} is not a file; images lie directly in their class's folder")
        if not name.isprintable():
            raise DataError(f"{path} has a class folder with an unprintable name, {name!r}; rename it")
    return files


def _two_or_more(classes: ClassFiles, path: Path) -> ClassFiles:
    if len(classes) == 1:
        raise DataError(f"{path} has one class, {next(iter(classes))}; a classifier needs two")
    return classes


def _decode(files: list[Path], size: int, reporter: Reporter) -> NDArray[np.uint8]:
    images = np.empty((len(files), size, size, 3), np.uint8)

    def fill(index: int) -> str | None:
        try:
            images[index] = read_pixels(files[index], size)
        except DataError as error:
            return f"{files[index]} ({error})"
        return None

    reporter.begin("read images", len(files), "images")
    faults = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for fault in pool.map(fill, range(len(files))):
            reporter.advance(1)
            if fault:
                faults.append(fault)
    if faults:
        shown = "; ".join(faults[:5]) + ("; ..." if len(faults) > 5 else "")
        raise DataError(f"{len(faults)} of {len(files)} files cannot be used: {shown}")
    return images


def _without_colour(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The one channel (N, H, W, 1) of images that are all gray, else the images as they are."""
    red, green, blue = (images[..., channel] for channel in range(3))
    if np.array_equal(red, green) and np.array_equal(red, blue):
        return np.ascontiguousarray(images[..., :1])
    return images


def _visible(path: Path) -> list[Path]:
    entries: Iterable[Path]
    try:
        entries = list(path.iterdir())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    return sorted(entry for entry in entries if not entry.name.startswith("."))
