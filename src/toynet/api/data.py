"""The verb that describes a data set."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toynet.api.copies import Copy, told
from toynet.core.reporter import Reporter, Silent
from toynet.data.balance import Balance, balance
from toynet.data.duplicates import shared_images
from toynet.data.images import ImageSet
from toynet.data.near_copies import NearCopy
from toynet.runs import subject
from toynet.runs.folder import DataCard
from toynet.runs.recipe import Recipe


@dataclass(frozen=True)
class DataInfo:
    """A data set as a run would use it."""

    card: DataCard
    protocol: str
    train_by_class: tuple[int, ...]
    """Images that are trained on, in the order of the card's classes."""

    test_by_class: tuple[int, ...]
    balance: Balance
    judged: Mapping[str, int]
    """Images of each part that scores are taken from: test, and val where the source has its own."""

    duplicates: tuple[Copy, ...]
    """Those of them that are in train too, pixel for pixel."""


def info(
    data: str,
    *,
    overrides: Mapping[str, Any] | None = None,
    data_root: Path | None = None,
    reporter: Reporter | None = None,
) -> DataInfo:
    """Sizes, classes and their balance, split, statistics, duplicates, and what identifies the images.

    `overrides` are those of a recipe, such as {"data.protocol": "report"}. Raises `ToyNetError`.
    """
    recipe = Recipe.load("default", {"augment.crop_pad_px": 0, **(overrides or {}), "data.name": data})
    about = subject.read(recipe, data_root, reporter or Silent())
    dataset, train = about.dataset, about.split.train
    equal = {name: _equal(part, dataset.train) for name, part in dataset.judged.items()}
    return DataInfo(
        card=about.card,
        protocol=recipe.data.protocol,
        train_by_class=_by_class(train),
        test_by_class=_by_class(dataset.test),
        balance=balance(train.labels, dataset.classes),
        judged={name: len(part) for name, part in dataset.judged.items()},
        duplicates=tuple(told(dataset, equal)),
    )


def _equal(part: ImageSet, train: ImageSet) -> list[NearCopy]:
    return [NearCopy(mine, theirs, 1.0) for mine, theirs in shared_images(part, train).tolist()]


def _by_class(part: ImageSet) -> tuple[int, ...]:
    return tuple(np.bincount(part.labels, minlength=len(part.classes)).tolist())
