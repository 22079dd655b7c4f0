"""The verb that looks for images that are judged by and trained on in another version."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toynet.core.errors import UsageError
from toynet.core.reporter import Reporter, Silent
from toynet.data import sources
from toynet.data.images import Dataset
from toynet.data.near_copies import LIKENESS, NearCopy, near_copies
from toynet.runs.recipe import Recipe

Found = Mapping[str, list[NearCopy]]
"""By the name of the part that is judged."""


@dataclass(frozen=True)
class Copy:
    """An image of `part` (val or test) and the training image that is likest to it."""

    part: str
    image: str
    """The file, or the number in its part where the set has no files."""

    trained: str
    likeness: float
    """Correlation of the two images' details where they fit best; 1 for equal ones."""

    classes: tuple[str, str]
    """Of the image and of the training image."""


def copies(
    data: str,
    output: str | Path | None = None,
    *,
    least: float = LIKENESS,
    overrides: Mapping[str, Any] | None = None,
    data_root: Path | None = None,
    reporter: Reporter | None = None,
) -> list[Copy]:
    """Images of `data`'s test set, and of validation images of its own, that its training set holds as well.

    Found are equal images and those that differ by a small shift, a slight crop, a mirror, brightness,
    contrast or tint (`toynet.data.near_copies`), the likest first. `output` (.png, .svg) shows the pairs side
    by side, if there are any.
    Raises `UsageError` for a `least` outside 0.5 to 1, and `ToyNetError` for data that cannot be read.
    """
    if not 0.5 <= least <= 1:
        raise UsageError(f"least: a likeness from 0.5 to 1, got {least:g}")
    if output is not None:
        # Loads matplotlib, which names alone need not wait for.
        from toynet.reporting.style import picture_kind

        picture_kind(path := Path(output))
        if not path.parent.is_dir():
            raise UsageError(f"{path}: there is no folder {path.parent}")
    recipe = Recipe.load("default", {**(overrides or {}), "data.name": data})
    reporter = reporter or Silent()
    dataset = sources.load(recipe.data, data_root, reporter)
    found = {
        name: near_copies(part, dataset.train, least=least, reporter=reporter)
        for name, part in dataset.judged.items()
    }
    if output is not None and any(found.values()):
        _draw(dataset, found, f"Likeness {least:g} or more in {data}", Path(output))
    return told(dataset, found)


def told(dataset: Dataset, found: Found) -> list[Copy]:
    """By their places and classes, the likest first."""
    if not any(found.values()):
        return []
    place_of, classes, train = sources.places(dataset), dataset.classes, dataset.train
    return [
        Copy(
            part=name,
            image=place_of(name, copy.judged),
            trained=place_of("train", copy.trained),
            likeness=copy.likeness,
            classes=(classes[dataset.judged[name].labels[copy.judged]], classes[train.labels[copy.trained]]),
        )
        for name, copy in _likest_first(found)
    ]


def _likest_first(found: Found) -> list[tuple[str, NearCopy]]:
    """Over all parts."""
    every = [(name, copy) for name, some in found.items() for copy in some]
    return sorted(every, key=lambda one: -one[1].likeness)


def _draw(dataset: Dataset, found: Found, title: str, path: Path) -> None:
    from toynet.reporting.pairs import Pair, draw_pairs

    pairs = [
        Pair(dataset.judged[name].images[copy.judged], dataset.train.images[copy.trained], copy.likeness)
        for name, copy in _likest_first(found)
    ]
    draw_pairs(pairs, path, title)
