"""What the processes of a study read is what its images are."""

from pathlib import Path

import numpy as np
import pytest

from toynet.core.reporter import Silent
from toynet.data import splits
from toynet.data.images import Dataset, ImageSet, is_mapped
from toynet.runs import subject
from toynet.runs.recipe import Recipe
from toynet.studies.sharing import open_shared, share


@pytest.mark.parametrize("protocol", ["standard", "full"])
def test_shared_images_are_divided_as_they_were(tmp_path: Path, protocol: str) -> None:
    recipe = Recipe.load("quick", {"data.name": "glyphs:240", "data.protocol": protocol})
    about = subject.read(recipe, None, Silent())
    share(about.dataset, tmp_path / "images")
    opened = subject.divide(open_shared(tmp_path / "images"), recipe.data)
    assert opened.card == about.card
    assert is_mapped(opened.split.train.images)
    for mine, theirs in (
        (about.split.train, opened.split.train),
        (about.split.val, opened.split.val),
        (about.dataset.test, opened.dataset.test),
    ):
        assert (mine is None) == (theirs is None)
        if mine is not None and theirs is not None:
            np.testing.assert_array_equal(mine.images[:], theirs.images[:])
            np.testing.assert_array_equal(mine.labels, theirs.labels)


def test_statistics_of_any_part_come_without_reading_its_pixels(tmp_path: Path) -> None:
    recipe = Recipe.load("quick", {"data.name": "glyphs:240", "data.split_seed": 5})
    about = subject.read(recipe, None, Silent())
    share(about.dataset, tmp_path / "images")
    with (tmp_path / "images" / "train-images.npy").open("r+b") as file:
        file.seek(1000)
        file.write(bytes(5000))
    opened = subject.divide(open_shared(tmp_path / "images"), recipe.data)
    assert (opened.card.mean, opened.card.std) == (about.card.mean, about.card.std)
    for one, other in zip(
        splits.channel_statistics(opened.split.train),
        splits.channel_statistics(about.split.train),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_validation_images_that_the_data_bring_are_shared_too(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    train, val, test = (
        ImageSet(draw.integers(0, 256, (6, 4, 4, 3), np.uint8), np.arange(6) % 2, ("a", "b"))
        for _ in range(3)
    )
    share(Dataset("own", train, test, val), tmp_path / "images")
    opened = open_shared(tmp_path / "images")
    assert opened.val is not None
    np.testing.assert_array_equal(opened.val.images, val.images)
    assert (opened.name, opened.classes, opened.val.digest) == ("own", ("a", "b"), val.digest)
