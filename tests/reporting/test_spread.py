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


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_where_there_is_no_line_there_are_dots(epochs: int) -> None:
    """Accuracy and loss have two curves, hollow in training; the rate has one. Ticks are drawn in ink."""
    dots = epochs if epochs < 3 else 0
    spread = Spread.of([[epoch(number) for number in range(1, epochs + 1)]])
    assert spread is not None
    drawn = panels(spread, None, name="x", who="a", whom="")
    full, hollow = r'<use[^>]*fill="var\(--(?!ink)', r'<use[^>]*fill-opacity="0" stroke="var\(--(?!ink)'
    assert [len(re.findall(full, panel)) for panel in drawn] == [dots, dots, dots]
    assert [len(re.findall(hollow, panel)) for panel in drawn] == [dots, dots, 0]
