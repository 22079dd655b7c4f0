"""A model with all that moves while it learns, and its passage to and from plain tensors."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from toynet.core.errors import CheckpointError
from toynet.training import optimizers as optimizer_room
from toynet.training.averages import WeightAverage
from toynet.training.seen import Seen
from toynet.training.spec import OptimSpec, TrainSpec
from toynet.training.state import TrainState

Parts = dict[str, dict[str, Tensor]]
"""Named tensors by part: `model`, `average`, `optimizer-0`, ..."""


@dataclass
class Learner:
    """The model, its optimisers, the average of its weights (if any), the cursor, and what it has seen."""

    model: nn.Module
    optimizers: tuple[Optimizer, ...]
    average: WeightAverage | None
    state: TrainState
    seen: Seen | None = None
    """Kept only where easy images are left out."""

    @classmethod
    def fresh(cls, model: nn.Module, optim: OptimSpec, train: TrainSpec) -> "Learner":
        """At step 0."""
        average = WeightAverage(model, train.ema) if train.ema else None
        optimizers = optimizer_room.build(model, optim, train.freeze)
        return cls(model, optimizers, average, TrainState(), Seen() if train.skip_easy else None)

    def parts(self) -> Parts:
        """Every tensor that a bit-identical continuation needs."""
        parts: Parts = {"model": dict(self.model.state_dict())}
        if self.average is not None:
            parts["average"] = self.average.tensors
        if self.seen is not None:
            parts["seen"] = self.seen.tensors
        for number, optimizer in enumerate(self.optimizers):
            parts[f"optimizer-{number}"] = _optimizer_tensors(optimizer)
        return parts

    def restore(self, parts: Parts, state: TrainState, *, allow_inexact: bool = False) -> list[str]:
        """Take over saved tensors and cursor; `CheckpointError` on any missing or misshapen.

        With `allow_inexact` all but the model may be: an optimiser then starts afresh, an average from the
        model's weights. Returns a line about each.
        """
        expected = {"model", *(["average"] if self.average else []), *(["seen"] if self.seen else [])}
        expected |= {f"optimizer-{number}" for number in range(len(self.optimizers))}
        if parts.keys() != expected and not (allow_inexact and "model" in parts):
            raise CheckpointError(
                f"the checkpoint holds {sorted(parts)}, this recipe needs {sorted(expected)}"
            )
        _copy_all(dict(self.model.state_dict()), parts["model"], "model")
        told = [f"{part} is not needed any more" for part in sorted(parts.keys() - expected)]
        if self.average is not None:
            try:
                _copy_all(self.average.tensors, parts.get("average", {}), "average")
            except CheckpointError as error:
                told.append(_if_allowed(allow_inexact, error, "the average starts from the model"))
                self.average.restart(self.model)
        if self.seen is not None and "seen" in parts:
            self.seen.restore(parts["seen"])
        elif self.seen is not None:
            told.append("which images are easy is found out anew")
        for number, optimizer in enumerate(self.optimizers):
            saved = parts.get(f"optimizer-{number}", {})
            try:
                _restore_optimizer(optimizer, saved, started=state.step > 0)
            except CheckpointError as error:
                told.append(_if_allowed(allow_inexact, error, f"optimizer-{number} starts afresh"))
                optimizer.state.clear()
        self.state = state
        return told


def take_weights(model: nn.Module, parts: Parts, train: TrainSpec) -> None:
    """Bring `model` to its saved weights, averaged ones where `train` keeps an average, to be used only.

    Raises `CheckpointError` on any missing or misshapen.
    """
    _copy_all(dict(model.state_dict()), parts["model"], "model")
    if train.ema:
        average = WeightAverage(model, train.ema)
        _copy_all(average.tensors, parts.get("average", {}), "average")
        average.write_into(model)


def _if_allowed(allow_inexact: bool, error: CheckpointError, told: str) -> str:
    if not allow_inexact:
        raise error
    return f"{told} ({error})"


def _optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    return {
        f"{index}.{key}": value
        for index, parameter in enumerate(_parameters(optimizer))
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def _restore_optimizer(optimizer: Optimizer, saved: dict[str, Tensor], *, started: bool) -> None:
    """Rebuild per-parameter state in the parameter's own memory order, which fused kernels rely on."""
    by_parameter: dict[int, dict[str, Tensor]] = {}
    parameters = _parameters(optimizer)
    for name, value in saved.items():
        number, dot, key = name.partition(".")
        if not (dot and number.isdecimal() and int(number) < len(parameters)):
            raise CheckpointError(f"the checkpoint's optimiser state has a strange entry {name!r}")
        by_parameter.setdefault(int(number), {})[key] = value
    momentless = optimizer.defaults.get("momentum") == 0
    if started and not momentless and len(by_parameter) != len(parameters):
        raise CheckpointError("the checkpoint's optimiser state does not match the model's parameters")
    for index, entries in by_parameter.items():
        parameter = parameters[index]
        optimizer.state[parameter] = {
            key: torch.empty_like(parameter).copy_(value)
            if value.shape == parameter.shape
            else value.to(parameter.device)
            for key, value in entries.items()
        }


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


@torch.no_grad()
def _copy_all(targets: dict[str, Tensor], sources: dict[str, Tensor], part: str) -> None:
    if targets.keys() != sources.keys():
        odd = sorted(targets.keys() ^ sources.keys())
        raise CheckpointError(f"{part}: the checkpoint and the model differ in {', '.join(odd[:3])}")
    for name, target in targets.items():
        if target.shape != sources[name].shape:
            raise CheckpointError(
                f"{part}: {name} is {tuple(sources[name].shape)} in the checkpoint, "
                f"{tuple(target.shape)} in the model"
            )
        target.copy_(sources[name])
