"""Realistic made-up results to draw, and a look into the figures drawn."""

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.figure import Figure

from toynet.core.records import EpochRecord
from toynet.reporting import style

Epochs = Callable[..., list[EpochRecord]]


@pytest.fixture
def draw() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure drawn during the test, in order."""
    drawn: list[Figure] = []

    def kept(*arguments: object, **options: object) -> Figure:
        drawn.append(Figure(*arguments, **options))
        return drawn[-1]

    monkeypatch.setattr(style, "Figure", kept)
    return drawn


@pytest.fixture
def epochs() -> Epochs:
    """Makes `count` epochs; validation peaks in the middle; the rate falls from 1e-3 to `last_rate`."""

    def make(count: int, *, validated: bool = True, last_rate: float = 1e-5) -> list[EpochRecord]:
        past = np.linspace(0, 1, count) if count > 1 else np.zeros(1)
        return [
            EpochRecord(
                epoch=epoch,
                step=10 * epoch,
                lr=1e-3 * (last_rate / 1e-3) ** share,
                train_loss=2 - share,
                train_accuracy=0.3 + 0.6 * share,
                val_loss=2 - share if validated else None,
                val_accuracy=0.8 - abs(share - 0.5) if validated else None,
                grad_norm=1.0,
                elapsed_s=float(epoch),
                images_per_s=1000.0,
            )
            for epoch, share in enumerate(past.tolist(), start=1)
        ]

    return make
