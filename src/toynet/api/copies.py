"""The verb that looks for images that are judged by and trained on in another version."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toynet.core.errors import UsageError
from toynet.core.reporter import Reporter, Silent
from toynet.data import sources
from toynet.data.images import Dataset, ImageSet
from toynet.data.near_copies import LIKENESS, NearCopy, near_copies
from toynet.runs.recipe import Recipe


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
    judged = {"test": dataset.test} | ({"val": dataset.val} if dataset.val else {})
    found = {
        name: near_copies(part, dataset.train, least=least, reporter=reporter)
        for name, part in judged.items()
    }
    if output is not None and any(found.values()):
        _draw(judged, dataset.train, found, f"likeness {least:g} or more in {data}", Path(output))
    return told(dataset, judged, found)


def told(dataset: Dataset, judged: Mapping[str, ImageSet], found: Mapping[str, list[NearCopy]]) -> list[Copy]:
    """Copies by their places and classes; judged, found: by part."""
    if not any(found.values()):
        return []
    place_of, classes, train = sources.places(dataset), dataset.classes, dataset.train
    every = [
        Copy(
            part=name,
            image=place_of(name, copy.judged),
            trained=place_of("train", copy.trained),
            likeness=copy.likeness,
            classes=(classes[judged[name].labels[copy.judged]], classes[train.labels[copy.trained]]),
        )
        for name, some in found.items()
        for copy in some
    ]
    return sorted(every, key=lambda copy: -copy.likeness)


def _draw(
    judged: dict[str, ImageSet], train: ImageSet, found: dict[str, list[NearCopy]], title: str, path: Path
) -> None:
    from toynet.reporting.pairs import Pair, draw_pairs

    pairs = [
        Pair(judged[name].images[copy.judged], train.images[copy.trained], copy.likeness)
        for name, some in found.items()
        for copy in some
    ]
    draw_pairs(sorted(pairs, key=lambda pair: -pair.likeness), path, title)
