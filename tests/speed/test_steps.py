"""The measured step is the loop's step."""

import pytest
import torch

from toynet.core.reporter import Silent
from toynet.runs import subject
from toynet.runs.recipe import Recipe
from toynet.runs.setups import with_setup
from toynet.speed import images, steps
from toynet.training import loop
from toynet.training.interrupts import StopFlag
from toynet.training.learner import Learner
from toynet.training.setup import Setup, prepare

SETUP = Setup(precision="bf16", kernels="compiled", memory_format="channels_last", threads=1)
CHANGES = {
    "model.name": "toynet12",
    "model.widths": [4, 4, 4, 4],
    "model.dropout": 0.2,
    "augment.mixup": 0.2,
    "optim.clip_norm": 1.0,
    "train.batch_size": 32,
    "train.epochs": 1,
    "train.ema": 0.9,
}


@pytest.fixture(autouse=True)
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_BYTES", 1)


def resolved(**changes: object) -> tuple[Recipe, subject.DataCard]:
    recipe = with_setup(Recipe.load("quick", {**CHANGES, **changes}), SETUP)
    return recipe, images.card(recipe.data, None, Silent())


def test_an_epoch_of_measured_steps_trains_as_the_loop_does():
    recipe, card = resolved()
    model = subject.build_model(recipe, card)
    prepare(model, SETUP)
    learner = Learner.fresh(model, recipe.optim, recipe.train)
    loop.train(
        learner,
        subject.plan(recipe, card),
        images.training_images(card, recipe.train.batch_size, "cpu"),
        validate=None,
        record=lambda _: None,
        save=lambda _: None,
        stop=StopFlag(),
        reporter=Silent(),
    )
    stepper = steps.Stepper(recipe, card)
    for _ in range(learner.state.step):
        stepper.step()
    expected, measured = learner.parts(), stepper._learner.parts()
    assert learner.state.step == 4
    for part, tensors in expected.items():
        for name, tensor in tensors.items():
            assert torch.equal(tensor, measured[part][name]), (part, name)


def test_every_moment_belongs_to_the_part_that_took_it(monkeypatch: pytest.MonkeyPatch):
    clock = [0.0]
    monkeypatch.setattr(steps, "now", lambda device: clock[0])

    def taking(original, seconds: float):
        def work(*arguments, **options):
            clock[0] += seconds
            return original(*arguments, **options)

        return work

    recipe, card = resolved(**{"train.micro_batch": 16})
    stepper = steps.Stepper(recipe, card)
    for module, name, seconds in [
        (steps, "load", 1),
        (steps.pipeline, "augment", 2),
        (steps.optimizers, "set_rate", 4),
        (stepper._learner.model.head, "forward", 8),
        (torch.Tensor, "backward", 32),
        (steps, "gradient_norm", 128),
        (stepper._learner.optimizers[0], "step", 256),
        (stepper._learner.average, "update", 512),
    ]:
        monkeypatch.setattr(module, name, taking(getattr(module, name), seconds))
    assert stepper.step() == {
        "load": 1e3,
        "augment": 2e3,
        "rest": 4e3,
        "forward": 16e3,
        "backward": 64e3,
        "optimiser": 896e3,
    }


def test_there_is_no_end_of_steps():
    recipe, card = resolved()
    stepper = steps.Stepper(recipe, card)
    for _ in range(11):
        assert sum(stepper.step().values()) > 0
