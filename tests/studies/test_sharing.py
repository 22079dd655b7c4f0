"""What the processes of a study read is what its images are."""

from pathlib import Path

import numpy as np
import pytest

from toynet.core.reporter import Silent
from toynet.data.images import Rows
from toynet.runs import subject
from toynet.runs.recipe import Recipe
from toynet.studies.sharing import open_shared, share


@pytest.mark.parametrize("protocol", ["standard", "full"])
def test_shared_images_are_the_same_rows_or_not(tmp_path: Path, protocol: str) -> None:
    recipe = Recipe.load("quick", {"data.name": "glyphs:240", "data.protocol": protocol})
    about = subject.read(recipe, None, Silent())
    assert isinstance(about.split.train.images, Rows) == (protocol == "standard")
    share(about, tmp_path / "images")
    opened = open_shared(tmp_path / "images")
    assert opened.card == about.card
    for mine, theirs in (
        (about.split.train, opened.split.train),
        (about.split.val, opened.split.val),
        (about.dataset.test, opened.dataset.test),
    ):
        assert (mine is None) == (theirs is None)
        if mine is not None and theirs is not None:
            assert mine.digest == theirs.digest
            np.testing.assert_array_equal(mine.labels, theirs.labels)
