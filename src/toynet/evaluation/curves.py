"""A run's records as arrays, and what is measured on a curve."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toynet.core.records import EpochRecord

Floats = NDArray[np.float64]

TAIL = 0.2  # the share of the epochs, three at least, that counts as the end
OPENING_EPOCHS = 3  # the steep first epochs, and at least a tenth of the run, say nothing about unrest
HIGH_LR, LOW_LR = 0.5, 0.1  # of the largest rate: its high level, and where a run should be calm


@dataclass(frozen=True)
class Curves:
    """The records as arrays over all epochs, and over those (indices `seen`) that were validated."""

    epoch: Floats
    lr: Floats
    train_loss: Floats
    train_accuracy: Floats
    seen: NDArray[np.int64]
    val_loss: Floats
    val_accuracy: Floats
    val_images: int = 0
    """That validate; 0 where it is not known."""

    @classmethod
    def of(cls, records: Sequence[EpochRecord], val_images: int = 0) -> "Curves":
        seen = [i for i, row in enumerate(records) if None not in (row.val_loss, row.val_accuracy)]
        every = ("epoch", "lr", "train_loss", "train_accuracy")
        columns = {name: [getattr(row, name) for row in records] for name in every}
        columns |= {name: [getattr(records[i], name) for i in seen] for name in ("val_loss", "val_accuracy")}
        arrays = {name: np.array(values, np.float64) for name, values in columns.items()}
        return cls(seen=np.array(seen, np.int64), val_images=val_images, **arrays)

    def high(self) -> NDArray[np.bool_]:
        """Epochs at the schedule's high level, without the opening."""
        opening = max(OPENING_EPOCHS, len(self.lr) // 10)
        level: NDArray[np.bool_] = self.lr >= HIGH_LR * self.lr.max()
        level[:opening] = False
        return level


def end_of(values: Floats) -> Floats:
    """The last values of a run, three at least."""
    return values[-max(3, round(TAIL * len(values))) :]


def jump(values: Floats) -> float:
    """The standard deviation of single values about a locally straight line."""
    bend = values[1:-1] - (values[:-2] + values[2:]) / 2
    return float(np.sqrt(np.mean(bend**2) / 1.5))


def slope(epochs: NDArray[np.number], values: Floats) -> float:
    """Of a straight line through the points."""
    run = epochs - epochs.mean()
    return float(run @ values / (run @ run))


def fall(epochs: Floats, values: Floats) -> tuple[float, float]:
    """How much a straight line through the points falls from end to end, and its slope in standard errors."""
    run, steepness = epochs - epochs.mean(), slope(epochs, values)
    residual = values - values.mean() - steepness * run
    error = float(np.sqrt(residual @ residual / (len(values) - 2) / (run @ run)))
    return -steepness * float(epochs[-1] - epochs[0]), -steepness / max(error, 1e-12)
