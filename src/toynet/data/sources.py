"""From the name of a data set to its images."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from toynet.core.errors import UsageError, did_you_mean
from toynet.core.reporter import Reporter, Silent
from toynet.data.arrays import read_arrays
from toynet.data.cifar import VARIANTS
from toynet.data.cifar_archive import fetch_cifar, load_cifar
from toynet.data.folder import read_folder
from toynet.data.images import Dataset, ImageSet
from toynet.data.layout import find_files
from toynet.data.pixels import resize_images, with_channels
from toynet.data.root import data_root
from toynet.data.spec import DataSpec

NAMES = ("cifar10", "cifar100", "glyphs", "glyphs:COUNT", "folder:PATH", "npz:PATH")
"""The forms that `DataSpec.name` may take."""


MOST_GLYPHS = 1_000_000


def load(spec: DataSpec, root: Path | None = None, reporter: Reporter = Silent()) -> Dataset:
    """The data set that `spec` names, its images in `spec.size` and `spec.channels` where those are given.

    `root` is where CIFAR lies or goes (`data_root` if none). Raises `UsageError` for a name that is none of
    `NAMES`, `DataError` for data that cannot be had or used.
    """
    kind, _, detail = spec.name.partition(":")
    if spec.name in VARIANTS:
        dataset = load_cifar(VARIANTS[spec.name], data_root(root), reporter)
    elif kind == "glyphs" and (detail or spec.name == "glyphs"):
        dataset = _glyphs(detail)
    elif kind == "folder" and detail:
        dataset = read_folder(Path(detail).expanduser(), spec.size, spec.channels, reporter)
    elif kind == "npz" and detail:
        dataset = read_arrays(Path(detail).expanduser(), spec.size)
    else:
        raise UsageError(f"data.name: unknown data set {spec.name!r}; {did_you_mean(spec.name, NAMES)}")
    return replace(dataset if kind == "folder" else _as_asked(dataset, spec), name=spec.name)


def places(dataset: Dataset) -> Callable[[str, int], str]:
    """Where an image of a part (train, val or test) comes from: its file, else its number in the part."""
    kind, _, detail = dataset.name.partition(":")
    if kind != "folder":
        return lambda part, number: f"{part} number {number}"
    found = {
        part: [os.path.join(group.folder, name) for group in classes.values() for name in group.names]
        for part, classes in find_files(Path(detail).expanduser()).parts.items()
    }
    return lambda part, number: found[part][number]


def absolute(name: str) -> str:
    """`name` with the path in it, if there is one, made independent of the working folder."""
    kind, _, detail = name.partition(":")
    if kind in ("folder", "npz") and detail:
        return f"{kind}:{Path(detail).expanduser().resolve()}"
    return name


def fetch(
    name: str, root: Path | None = None, source: str | None = None, reporter: Reporter = Silent()
) -> Path:
    """Bring a data set that is downloaded into `root`, from `source` (a file or an address) if given.

    Returns its folder. Raises `UsageError` for a name that is not downloaded, else as `load`.
    """
    if name not in VARIANTS:
        raise UsageError(f"{name!r} is not a data set to fetch; {did_you_mean(name, VARIANTS)}")
    return fetch_cifar(VARIANTS[name], data_root(root), source, reporter)


def _glyphs(count: str) -> Dataset:
    from toynet.data.glyphs import glyphs  # it draws with fonts, and whoever reads CIFAR needs none

    if not count:
        return glyphs()
    if not count.isdecimal() or not 1 <= int(count[:12]) <= MOST_GLYPHS:
        raise UsageError(f"data.name: glyphs:{count[:20]} needs a number of images up to {MOST_GLYPHS:,}")
    return glyphs(int(count))


def _as_asked(dataset: Dataset, spec: DataSpec) -> Dataset:
    """Arrays brought to the size and the channels of `spec`."""

    def changed(part: ImageSet) -> ImageSet:
        images = part.images[:]
        if spec.size:
            images = resize_images(images, spec.size)
        if spec.channels != "auto":
            images = with_channels(images, spec.channels)
        same = images.shape == part.images.shape
        return part if same else ImageSet(images, part.labels, part.classes)

    val = changed(dataset.val) if dataset.val else None
    return Dataset(dataset.name, changed(dataset.train), changed(dataset.test), val)
