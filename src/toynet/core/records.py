"""What a run leaves behind, as frozen typed records."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

Status = Literal["finished", "stopped_early", "diverged"]


class Record(BaseModel):
    """A frozen, validated value; unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Settings(Record):
    """A table of a recipe. The word `none` takes an optional setting back to its default."""

    @model_validator(mode="before")
    @classmethod
    def _none_is_a_word(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        optional = {name for name, field in cls.model_fields.items() if field.default is None}
        return {key: None if key in optional and value == "none" else value for key, value in values.items()}


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
