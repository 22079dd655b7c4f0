"""Goal 7: values that are not finite, injected in 30 ways: caught, told, logged as they are, never best."""

import json
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from reliability import tiny
from toynet.core.errors import Diverged
from toynet.core.records import EpochRecord
from toynet.core.reporter import Silent
from toynet.runs import subject
from toynet.runs.folder import RunFolder
from toynet.training import loop

COUNT = 30
SHORT = 8
_STEP = 8
"""In the second of three epochs of six."""

Injection = Callable[[], Any]
Learners = list[loop.Learner]


def prove(count: int) -> dict[str, Any]:
    """The first `count` of the ways, evenly taken."""
    ways = _ways()
    chosen = list(ways)[:: max(1, len(ways) // count)][:count]
    tallies = dict.fromkeys(("diverged", "before_the_update", "logged_as_it_was", "never_best"), 0)
    failed = []
    for way in chosen:
        found = _one(*ways[way])
        for key, value in found.items():
            tallies[key] += value
        if not all(found.values()):
            failed.append(way)
    return {"ways": len(chosen), "names": chosen, **tallies, "failed": failed, "passed": not failed}


def _one(changes: dict[str, Any], inject: Injection, in_step: bool) -> dict[str, bool]:
    one = tiny.recipe(**{"train.epochs": 3, **changes})
    listener = _Listener()
    with tempfile.TemporaryDirectory() as name, inject() as applied:
        path, raised = Path(name) / "run", None
        try:
            tiny.run(path, one, tiny.images(one), listener)
        except Diverged as error:
            raised = error
        folder, logged = RunFolder(path), []
        if (path / "metrics.jsonl").exists():
            logged = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
        result = folder.result()
        status = result is not None and result.status == "diverged" and result.test_accuracy is None
        best = result.best_epoch if result else None
        return {
            "diverged": raised is not None and status and bool(result and result.reason == str(raised)),
            "before_the_update": not in_step or (raised is not None and applied[0] == raised.step),
            "logged_as_it_was": _same([line.model_dump() for line in listener.lines], logged),
            "never_best": best is None or math.isfinite(logged[best - 1]["val_loss"]),
        }


class _Listener(Silent):
    def __init__(self) -> None:
        self.lines: list[EpochRecord] = []

    def epoch(self, record: EpochRecord, planned_epochs: int) -> None:
        self.lines.append(record)


def _same(told: list[dict[str, Any]], logged: list[dict[str, Any]]) -> bool:
    """Whether every value is in the file as it was told, NaN for NaN."""
    return (
        repr(told) == repr([{key: line[key] for key in told[0]} for line in logged]) if told else not logged
    )


def _ways() -> dict[str, tuple[dict[str, Any], Injection, bool]]:
    """By name: settings, what is done to the training, and whether it must be caught before an update."""
    nan, inf = math.nan, math.inf
    ways: dict[str, tuple[dict[str, Any], Injection, bool]] = {}
    for name, rate in (("sgd", 1e30), ("adam", 1e30), ("adamw", 1e30), ("muon", 1e30)):
        ways[f"{name} at a rate of {rate:g}"] = {"optim.name": name, "optim.lr": rate}, _nothing, True
    for value in (nan, inf, -inf):
        ways[f"loss {value}"] = {}, _loss(value), True
        ways[f"loss {value} in a micro-batch"] = {"train.micro_batch": 20}, _loss(value), True
        ways[f"gradient {value}"] = {}, _gradient(value), True
        ways[f"gradient {value}, clipped"] = {"optim.clip_norm": 1.0}, _gradient(value), True
        ways[f"weight {value}"] = {}, _in_model("weight", value), True
        ways[f"averaged weight {value}"] = {}, _in_average(value), False
        ways[f"mean of the images {value}"] = {}, _standardised(value), True
    ways["running mean nan"] = {"train.ema": 0.0}, _in_model("running_mean", nan), False
    ways["running variance nan"] = {"train.ema": 0.0}, _in_model("running_var", nan), False
    ways["optimiser's moment nan"] = {}, _in_optimizer(nan), True
    ways["optimiser's moment inf"] = {}, _in_optimizer(inf), True
    ways["running mean nan, nothing validates"] = (
        {"data.protocol": "full", "train.ema": 0.0},
        _in_model("running_mean", nan),
        False,
    )
    return ways


@contextmanager
def _steps(before: Callable[[loop.Learner, int], object] = lambda learner, step: None) -> Iterator[list[int]]:
    """Counts the updates that are applied; `before` is called ahead of each step's forward pass."""
    applied = [0]
    real_rate, learners = loop.optimizers.set_rate, []
    real_train = loop.train

    def train(learner: loop.Learner, *rest: Any, **options: Any) -> None:
        learners.append(learner)
        applied[0] = learner.state.step
        first = learner.optimizers[0]
        real_step = first.step

        def step(*arguments: Any) -> Any:
            applied[0] += 1
            return real_step(*arguments)

        first.step = step  # type: ignore[method-assign]
        real_train(learner, *rest, **options)

    def set_rate(optimizers: Any, rate: Any, step: int, factor: float) -> None:
        before(learners[-1], step)
        real_rate(optimizers, rate, step, factor)

    with patch.object(loop, "train", train), patch.object(loop.optimizers, "set_rate", set_rate):
        yield applied


def _nothing() -> Any:
    return _steps()


def _loss(value: float) -> Injection:
    @contextmanager
    def inject() -> Iterator[list[int]]:
        real, at = loop.losses.build, [False]

        def build(*given: Any) -> Any:
            function = real(*given)
            return lambda logits, labels: function(logits, labels) * (value if at[0] else 1.0)

        with (
            patch.object(loop.losses, "build", build),
            _steps(lambda learner, step: at.__setitem__(0, step == _STEP)) as applied,
        ):
            yield applied

    return inject


def _gradient(value: float) -> Injection:
    def before(learner: loop.Learner, step: int) -> None:
        if step == _STEP:
            parameter = list(learner.model.parameters())[-1]
            parameter.register_hook(lambda gradient: torch.full_like(gradient, value))

    return lambda: _steps(before)


def _in_model(name: str, value: float) -> Injection:
    def before(learner: loop.Learner, step: int) -> None:
        if step == _STEP:
            tensors = learner.model.state_dict()
            _first(tensor for key, tensor in tensors.items() if key.endswith(name)).fill_(value)

    return lambda: _steps(before)


def _first(tensors: Iterable[Tensor]) -> Tensor:
    """The first value of the first of `tensors`, to be written to."""
    tensor = next(iter(tensors))
    return tensor[(0,) * tensor.ndim]


def _in_average(value: float) -> Injection:
    def before(learner: loop.Learner, step: int) -> None:
        if step == _STEP and learner.average is not None:
            _first(learner.average.tensors.values()).fill_(value)

    return lambda: _steps(before)


def _in_optimizer(value: float) -> Injection:
    def before(learner: loop.Learner, step: int) -> None:
        if step == _STEP:
            for entries in learner.optimizers[0].state.values():
                for tensor in entries.values():
                    if isinstance(tensor, Tensor) and tensor.ndim:
                        tensor.fill_(value)

    return lambda: _steps(before)


def _standardised(value: float) -> Injection:
    @contextmanager
    def inject() -> Iterator[list[int]]:
        real = subject.standardiser

        def standardiser(card: Any, device: str) -> Any:
            return real(card.model_copy(update={"mean": (value, *card.mean[1:])}), device)

        with patch.object(subject, "standardiser", standardiser), _steps() as applied:
            yield applied

    return inject
