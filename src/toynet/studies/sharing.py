"""Images that many processes read: written once as plain arrays, and mapped by each.

Mapped pages lie in memory once, however many processes read them. The training images are written whole, with
what their statistics follow from, so that each run can set apart its own part of them.
"""

from pathlib import Path

import numpy as np

from toynet.core.files import read_json, write_json
from toynet.data.images import Dataset, ImageSet, write_array

LAST = "about.json"
"""Written last: where it is seen, all is."""


def share(dataset: Dataset, folder: Path) -> None:
    """Write `dataset` into `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"train": dataset.train, **dataset.judged}
    for name, part in parts.items():
        with (folder / f"{name}-images.npy").open("wb") as file:
            write_array(file, part.images)
        np.save(folder / f"{name}-labels.npy", part.labels)
    np.save(folder / "train-moments.npy", dataset.train.image_moments())
    digests = {name: part.digest for name, part in parts.items()}
    write_json(folder / LAST, {"name": dataset.name, "classes": dataset.classes, "digests": digests})


def open_shared(folder: Path) -> Dataset:
    """What `share` wrote."""
    about = read_json(folder / LAST)
    classes, digests = tuple(about["classes"]), about["digests"]
    parts = {name: _part(folder, name, classes, digest) for name, digest in digests.items()}
    return Dataset(about["name"], **parts)


def _part(folder: Path, name: str, classes: tuple[str, ...], digest: str) -> ImageSet:
    # Copy on write: torch wants arrays that could be written to, and nobody writes.
    images = np.load(folder / f"{name}-images.npy", mmap_mode="c")
    moments = np.load(folder / "train-moments.npy") if name == "train" else None
    labels = np.load(folder / f"{name}-labels.npy")
    return ImageSet(np.asarray(images), labels, classes, moments, digest)
