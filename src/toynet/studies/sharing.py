"""Images that many processes read: written once as plain arrays, and mapped by each.

Mapped pages lie in memory once, however many processes read them.
"""

import json
from pathlib import Path

import numpy as np

from toynet.core.files import read_json, write_json
from toynet.data.images import Dataset, ImageSet, write_array
from toynet.data.splits import Split
from toynet.runs.folder import DataCard
from toynet.runs.subject import Subject


def share(about: Subject, folder: Path) -> None:
    """Write the parts of `about` into `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("train", about.split.train), ("val", about.split.val), ("test", about.dataset.test)):
        if part is not None:
            with (folder / f"{name}-images.npy").open("wb") as file:
                write_array(file, part.images)
            np.save(folder / f"{name}-labels.npy", part.labels)
    write_json(folder / "card.json", json.loads(about.card.model_dump_json()))


def open_shared(folder: Path) -> Subject:
    """What `share` wrote. Only the training part of `dataset` is there, not the images set apart from it."""
    card = DataCard.model_validate(read_json(folder / "card.json"))
    train, test = _part(folder, "train", card), _part(folder, "test", card)
    val = _part(folder, "val", card) if (folder / "val-images.npy").exists() else None
    return Subject(Dataset(card.name, train, test), Split(train, val, card.split_digest), card)


def _part(folder: Path, name: str, card: DataCard) -> ImageSet:
    # Copy on write: torch wants arrays that could be written to, and nobody writes.
    images = np.load(folder / f"{name}-images.npy", mmap_mode="c")
    return ImageSet(np.asarray(images), np.load(folder / f"{name}-labels.npy"), card.classes)
