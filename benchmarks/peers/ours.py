"""ToyNet's own training: the recipe, the bytes' way to the model, and the loop that `toynet train` runs."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pool
from contests import Job, Trainer

from toynet.core.memory import keep_freed_memory
from toynet.core.reporter import Silent
from toynet.models.cost import count
from toynet.runs import setups, subject
from toynet.runs.recipe import Recipe
from toynet.training import loop
from toynet.training.interrupts import StopFlag
from toynet.training.learner import Learner
from toynet.training.precision import device
from toynet.training.setup import on_threads, prepare


def build(job: Job, options: dict[str, Any], file: Path) -> Trainer:
    """The report's Adam and cross-entropy, the set-up left at auto and no augmentation, but for `options`.

    changes: settings of the recipe by dotted key. The steps are those of `runs.execute.start`, without the
    run's folder: the other loops write neither records nor checkpoints.
    """
    settings = {
        "data.name": f"npz:{file}",
        "data.protocol": "full",
        "augment": {},
        "model.name": job.model,
        "model.widths": list(job.widths),
        "schedule.name": "constant",
        "train.batch_size": job.batch_size,
    }
    keep_freed_memory()
    recipe = Recipe.load("report/base", settings | options["changes"])
    about = subject.read(recipe, None, Silent())
    recipe = setups.resolve(recipe, about.card, Silent())
    data, plan = subject.training_images(about, device()), subject.plan(recipe, about.card)
    model = subject.build_model(recipe, about.card).to(device())
    prepare(model, plan.setup)
    learner = Learner.fresh(model, recipe.optim, recipe.train)

    def train(steps: int) -> tuple[int, float]:
        images, epochs = pool.portion(steps, job.batch_size)
        until = plan.train.model_copy(update={"epochs": learner.state.epoch + epochs})
        with on_threads(plan.setup.threads):
            loop.train(
                learner,
                replace(plan, train=until),
                replace(data, images=data.images[:images], labels=data.labels[:images]),
                validate=None,
                record=_drop,
                save=_drop,
                stop=StopFlag(),
                reporter=Silent(),
            )
        return images * epochs, time.perf_counter()

    return Trainer(train, count(model)[0], detail=plan.setup.name)


def _drop(_: object) -> None:
    """What happens to records and checkpoints here."""
