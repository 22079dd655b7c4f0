"""Where a training run stands: everything that moves, besides tensors."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import ConfigDict, NonNegativeInt, TypeAdapter, ValidationError, with_config

from toynet.core.errors import CheckpointError
from toynet.training.spec import PlateauSpec

_EXACT = ConfigDict(extra="forbid")


@with_config(_EXACT)
@dataclass
class Plateau:
    """Reduce-on-plateau: the factor it has put on the schedule so far, and what it waits for."""

    factor: float = 1.0
    best: float | None = None
    waited: int = 0

    def observe(self, spec: PlateauSpec, val_loss: float) -> None:
        """Take in an epoch's validation loss, with the rule of Keras' `ReduceLROnPlateau`."""
        if self.best is None or val_loss < self.best - spec.min_delta:
            self.best, self.waited = val_loss, 0
            return
        self.waited += 1
        if self.waited >= spec.patience:
            self.factor, self.waited = self.factor * spec.factor, 0


@with_config(_EXACT)
@dataclass
class Sums:
    """Running sums over the epoch so far."""

    loss: float = 0.0
    correct: int = 0
    images: int = 0
    grad_norm: float = 0.0
    batches: int = 0
    seconds: float = 0.0


@with_config(_EXACT)
@dataclass
class TrainState:
    """The cursor: `epoch` epochs and `batch` batches of the next are done, `step` updates in all."""

    epoch: NonNegativeInt = 0
    batch: NonNegativeInt = 0
    step: NonNegativeInt = 0
    elapsed_s: float = 0.0
    sums: Sums = field(default_factory=Sums)
    plateau: Plateau = field(default_factory=Plateau)
    best_val_accuracy: float | None = None
    best_epoch: int | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any], *, allow_inexact: bool = False) -> "TrainState":
        """Raises `CheckpointError` when a field is unknown, or missing and that is not allowed."""
        if not isinstance(value, dict):
            raise CheckpointError("the checkpoint's state is not a table")
        plain = asdict(cls())
        lacking = sorted(plain.keys() - value.keys())
        if lacking and not allow_inexact:
            raise CheckpointError(f"the checkpoint's state lacks {', '.join(lacking)}")
        try:
            return TypeAdapter(cls).validate_json(json.dumps({**plain, **value}), strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"]))
            raise CheckpointError(
                f"the checkpoint's state does not fit this version ({field}: {first['msg'].lower()}); it may "
                "be from a newer one"
            ) from error
