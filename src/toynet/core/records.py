"""What a run leaves behind, as frozen typed records."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Status = Literal["finished", "stopped_early", "diverged"]


class Record(BaseModel):
    """A frozen, validated value; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class EpochRecord(Record):
    """One line of `metrics.jsonl`. Accuracies are fractions, losses nats, `epoch` counts from 1.

    `train_*` are means over the epoch's augmented batches with the weights as they moved;
    `val_*` are taken once at its end on unaugmented images.
    """

    epoch: int
    step: int
    lr: float
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    grad_norm: float
    elapsed_s: float
    images_per_s: float


class LayerActivation(Record):
    """The output of one layer over one batch."""

    name: str
    kind: str
    """`Conv2d`, `BatchNorm2d` or `ReLU`."""

    rms: float
    max_abs: float
    dead_fraction: float
    """Channels that tell nothing about any image of the batch: `ReLU` and `Conv2d`, zero throughout;
    `BatchNorm2d`, nowhere above zero, so that the ReLU that usually follows passes nothing."""

    finite: bool


class RunResult(Record):
    """`result.json`: written last, once, when everything else of the run is on the disk."""

    status: Status
    identity: str
    recipe: str
    data: str
    protocol: str
    seed: int
    epochs: int
    planned_epochs: int
    stopped_at_step: int | None
    reason: str | None
    val_accuracy: float | None
    val_loss: float | None
    best_val_accuracy: float | None
    best_epoch: int | None
    test_accuracy: float | None
    test_loss: float | None
    train_s: float
    images_per_s: float
    parameters: int
    trainable_parameters: int
    macs: int
    precision: str
    threads: int
    ranks: int = 1
    """Processes that trained it together, each on `threads`; as it ended, where that changed."""

    exact: bool = True
    """Whether it went on as it began, wherever it stopped; else `inexact.jsonl` says why not."""
