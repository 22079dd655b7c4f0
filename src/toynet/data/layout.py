"""Which image files a folder holds: `train/ [val/] test/` with a folder per class in each, or the classes.

Classes are fixed by `train` and matched by name: a part that lacks one or has another is refused, for labels
would shift silently. Where classes lie directly in the folder, a fifth of each one's files is the test set,
drawn by file name from a fixed seed: it stays the same however the run is seeded. Names that start with a dot
are passed over. Links are followed inside the folder; one that leads out of it is refused, for what it points
at can change or vanish without the folder. No file is opened; names, sizes and times of change are read.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toynet.core.errors import DataError, did_you_mean
from toynet.core.reporter import Reporter, Silent
from toynet.core.seeds import stream

PARTS = ("train", "val", "test")
TEST_SHARE = 0.2
TEST_SEED = 2021
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")


@dataclass(frozen=True)
class ClassFiles:
    """The files of a class in a part, in the order of their names; `stamp` changes when one of them does."""

    folder: Path
    names: list[str]
    stamp: str


Part = dict[str, ClassFiles]


@dataclass(frozen=True)
class Layout:
    """The files of each part by class, both in the order in which images are numbered."""

    root: Path
    parts: dict[str, Part]

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.parts["train"])

    @property
    def stamp(self) -> str:
        """sha256 over all names, sizes and times of change, and over which part each file belongs to."""
        lines = [
            f"{part}\0{name}\0{files.stamp}\0{len(files.names)}"
            for part, classes in self.parts.items()
            for name, files in classes.items()
        ]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def paths(self) -> Iterator[str]:
        """Every file: train first, class by class."""
        for part in self.parts.values():
            for files in part.values():
                for name in files.names:
                    yield os.path.join(files.folder, name)

    def __len__(self) -> int:
        return sum(len(files.names) for part in self.parts.values() for files in part.values())


def find_files(root: Path, reporter: Reporter = Silent()) -> Layout:
    """The files below `root`. Raises `DataError` for missing, empty or unknown classes, naming the folder."""
    if not os.path.isdir(root):  # unlike Path.is_dir, no error where a parent cannot be entered
        raise DataError(f"{root} is not a folder")
    reporter.begin("list image files", 0, "files")
    folders = [entry for entry in _visible(root) if entry.is_dir()]
    names = [entry.name for entry in folders]
    if "train" not in names:
        return Layout(root, _split(_two_or_more(_class_files(root, root, reporter), root)))
    for name in names:
        if name not in PARTS:
            raise DataError(f"{root}/{name} is none of train, val, test; {did_you_mean(name, PARTS)}")
    for entry in folders:
        _refuse_link_out(entry, root)
    if "test" not in names:
        raise DataError(f"{root} has train/ but no test/")
    parts = {name: _class_files(root / name, root, reporter) for name in PARTS if name in names}
    _two_or_more(parts["train"], root / "train")
    for name, part in parts.items():
        for missing in parts["train"].keys() - part.keys():
            raise DataError(f"{root}/{name} has no class {missing}, which train has")
        for unknown in part.keys() - parts["train"].keys():
            near = did_you_mean(unknown, parts["train"])
            raise DataError(f"{root}/{name} has the class {unknown}, which train has not; {near}")
    return Layout(root, parts)


def _split(classes: Part) -> dict[str, Part]:
    train: Part = {}
    test: Part = {}
    for name, files in classes.items():
        total = len(files.names)
        if total < 2:
            raise DataError(f"{files.folder} has one image; without train/ and test/ a class needs two")
        count = max(1, round(TEST_SHARE * total))
        is_test = np.zeros(total, bool)
        is_test[stream(TEST_SEED, "folder test", name).permutation(total)[:count]] = True
        for part, wanted in ((test, True), (train, False)):
            chosen = [file for file, mark in zip(files.names, is_test, strict=True) if mark == wanted]
            part[name] = ClassFiles(files.folder, chosen, files.stamp)
    return {"train": train, "test": test}


def _class_files(path: Path, root: Path, reporter: Reporter) -> Part:
    """The files of each class folder in `path`, all in the order of their names."""
    entries = _visible(path)
    for entry in entries:
        if not entry.is_dir() and entry.name.lower().endswith(IMAGE_SUFFIXES):
            raise DataError(f"{entry.path} lies outside the class folders")
    folders = [entry for entry in entries if entry.is_dir()]
    if not folders:
        raise DataError(f"{path} has no class folders")
    found = {}
    for entry in folders:
        _refuse_link_out(entry, root)
        if not entry.name.isprintable():
            raise DataError(f"{path} has a class folder with an unprintable name, {entry.name!r}; rename it")
        found[entry.name] = _files_of(Path(entry.path), root)
        reporter.advance(len(found[entry.name].names))
    return found


def _files_of(folder: Path, root: Path) -> ClassFiles:
    entries = _visible(folder)
    if not entries:
        raise DataError(f"{folder} is empty; a class needs images")
    hasher = hashlib.sha256()
    for entry in entries:
        _refuse_link_out(entry, root)
        if not entry.is_file():
            raise DataError(f"{entry.path} is not a file; images lie directly in their class's folder")
        about = entry.stat()
        times = f"{about.st_mtime_ns}\0{about.st_ctime_ns}"
        hasher.update(os.fsencode(entry.name) + f"\0{about.st_size}\0{times}\0".encode())
    return ClassFiles(folder, [entry.name for entry in entries], hasher.hexdigest())


def _refuse_link_out(entry: os.DirEntry[str], root: Path) -> None:
    if not entry.is_symlink():
        return
    target = os.path.realpath(entry.path)
    if not os.path.exists(target):
        raise DataError(f"{entry.path} is a link to {target}, which does not exist")
    if not Path(target).is_relative_to(os.path.realpath(root)):
        raise DataError(
            f"{entry.path} is a link that leads out of {root}, to {target}; put a copy in its place"
        )


def _two_or_more(classes: Part, path: Path) -> Part:
    if len(classes) == 1:
        raise DataError(f"{path} has one class, {next(iter(classes))}; a classifier needs two")
    return classes


def _visible(path: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    return sorted(found, key=lambda entry: entry.name)
