"""Where a training step's time goes: the loop's own functions, in the loop's own order, on random images."""

from itertools import cycle

import torch
from torch import Tensor, nn

from toynet.augment import pipeline
from toynet.core import memory
from toynet.core.seeds import derive
from toynet.data import batches
from toynet.runs import subject
from toynet.runs.folder import DataCard
from toynet.runs.recipe import Recipe
from toynet.speed.clock import now, rounds
from toynet.speed.images import training_images
from toynet.speed.records import Part, Spread, Training
from toynet.training import losses, optimizers, precision, schedules
from toynet.training.images import load
from toynet.training.learner import Learner
from toynet.training.loop import forward_backward, gradient_norm
from toynet.training.setup import in_steps, prepare

PARTS = ("load", "augment", "forward", "backward", "optimiser", "rest")
"""Gathering and standardising; augmenting; the model and the loss; the gradient, and reading the loss; the
gradient's norm, the update and the average of the weights; seeds, the rate, dropping the old gradient."""

_WARM_UP, _FEWEST, _MOST = 3, 5, 500


def training(recipe: Recipe, card: DataCard, seconds: float) -> Training:
    """Take steps of `recipe`, whose set-up must be resolved, for about `seconds`."""
    stepper = Stepper(recipe, card)
    for _ in range(_WARM_UP):
        stepper.step()
    memory.forget_peak()
    found = [stepper.step() for _ in rounds(seconds, _FEWEST, _MOST)]
    total = Spread.of([sum(ms.values()) for ms in found])
    parts = {name: Spread.of([ms[name] for ms in found]) for name in PARTS}
    whole = sum(ms.median for ms in parts.values())
    per_ms = recipe.train.batch_size * 1e3
    return Training(
        batch_size=recipe.train.batch_size,
        micro_batch=recipe.train.micro_batch,
        steps=len(found),
        step_ms=total,
        passes_ms=Spread.of([ms["forward"] + ms["backward"] for ms in found]),
        images_per_s=Spread(
            median=per_ms / total.median, lower=per_ms / total.upper, upper=per_ms / total.lower
        ),
        parts=tuple(Part(name=name, ms=ms, share=ms.median / whole) for name, ms in parts.items()),
        peak_resident_mib=memory.peak_resident_mib(),
    )


class Stepper:
    """A recipe's training on random images, over the batches of one epoch again and again."""

    def __init__(self, recipe: Recipe, card: DataCard) -> None:
        self._device, self._plan = precision.device(), subject.plan(recipe, card)
        spec = self._plan.train
        model = subject.build_model(recipe, card).to(self._device)
        prepare(model, self._plan.setup)
        self._learner = Learner.fresh(model, self._plan.optim, spec)
        self._data = training_images(card, spec.batch_size, self._device)
        count = len(self._data.images)
        order = batches.order(count, seed=spec.seed, epoch=0)
        self._indices = torch.from_numpy(order).to(self._device)
        self._draws = pipeline.draw(self._plan.augment, order, seed=spec.seed, epoch=0)
        self._rows = cycle(batches.batches(count, spec.batch_size))
        per_epoch = batches.batch_count(count, spec.batch_size)
        self._rate = schedules.build(self._plan.schedule, epochs=spec.epochs, steps_per_epoch=per_epoch)
        self._last_step = spec.epochs * per_epoch - 1
        self._timer = _Timer(self._device)
        self._loss = self._timer.ending_forward(losses.build(self._plan.loss))
        self._network = self._timer.before_each(in_steps(model, self._plan.setup))

    def step(self) -> dict[str, float]:
        """One step as a run takes it: the milliseconds of its parts."""
        with precision.repeatable(self._device):
            return self._step()

    def _step(self) -> dict[str, float]:
        plan, learner, rows, timer = self._plan, self._learner, next(self._rows), self._timer
        timer.start()
        images, labels = load(self._data, self._indices[rows])
        timer.end("load")
        images, labels = pipeline.augment(
            plan.augment, images, labels, self._draws, rows, classes=plan.classes
        )
        timer.end("augment")
        step = learner.state.step
        precision.seed_dropout(derive(plan.train.seed, "dropout", step), images.device.type)
        optimizers.set_rate(learner.optimizers, self._rate, min(step, self._last_step))
        forward_backward(self._network, self._loss, images, labels, plan.setup, plan.train.micro_batch)
        timer.end("backward")
        gradient_norm(learner.model, plan.optim.clip_norm)
        for optimizer in learner.optimizers:
            optimizer.step()
        learner.state.step += 1
        if learner.average is not None:
            learner.average.update(learner.model, learner.state.step)
        timer.end("optimiser")
        return timer.ms


class _Timer:
    """Adds up the milliseconds of a step's parts.

    `forward_backward` is told apart from outside, so that the loop holds nothing for the sake of being
    measured: a pass begins where the model is called, and its loss ends it.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self.start()

    def start(self) -> None:
        self.ms = dict.fromkeys(PARTS, 0.0)
        self._passes = 0
        self._last = now(self._device)

    def end(self, part: str) -> None:
        """What came since the last end belongs to `part`."""
        moment = now(self._device)
        self.ms[part] += (moment - self._last) * 1e3
        self._last = moment

    def before_each(self, network: nn.Module) -> nn.Module:
        """Before the first micro-batch lies the rest, before each other one the gradient of its neighbour."""

        def begun(*_: object) -> None:
            self.end("backward" if self._passes else "rest")
            self._passes += 1

        called = nn.Sequential(network)
        called.register_forward_pre_hook(begun)
        return called

    def ending_forward(self, loss: losses.Loss) -> losses.Loss:
        def timed(logits: Tensor, target: Tensor) -> Tensor:
            value = loss(logits, target)
            self.end("forward")
            return value

        return timed
