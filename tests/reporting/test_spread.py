"""The panels of one arm: what a reader sees of a run of one epoch."""

import re

import pytest

from toynet.core.records import EpochRecord
from toynet.reporting.spread import Spread, panels


def epoch(number: int) -> EpochRecord:
    scores = {"train_loss": 1.0, "train_accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5}
    return EpochRecord(
        epoch=number, step=number, lr=0.1, grad_norm=1.0, elapsed_s=1.0, images_per_s=1.0, **scores
    )


@pytest.mark.parametrize(("epochs", "dots"), [(1, [2, 2, 1]), (2, [4, 4, 2]), (3, [0, 0, 0])])
def test_where_there_is_no_line_there_are_dots(epochs: int, dots: list[int]) -> None:
    """Accuracy and loss have two curves each, the rate one; ticks are drawn in ink."""
    spread = Spread.of([[epoch(number) for number in range(1, epochs + 1)]])
    assert spread is not None
    drawn = panels(spread, None, name="x", who="a", whom="")
    assert [len(re.findall(r'<use[^>]*fill="var\(--(?!ink)', panel)) for panel in drawn] == dots
