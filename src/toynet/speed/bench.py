"""`bench` from end to end: choose a set-up, measure in it, compare with the limit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from toynet.core.environment import busy_warning, describe
from toynet.core.memory import keep_freed_memory
from toynet.core.reporter import Reporter
from toynet.models.cost import FLOP_PER_MAC, PASSES, cost
from toynet.runs import subject
from toynet.runs.recipe import Recipe
from toynet.runs.setups import asked_threads, with_setup
from toynet.speed import images
from toynet.speed.advice import advice, micro_batches
from toynet.speed.convolutions import convolution_rate
from toynet.speed.inference import inference
from toynet.speed.limits import limits
from toynet.speed.records import Achieved, BenchResult, Inference, Training
from toynet.speed.search import search
from toynet.speed.steps import training
from toynet.training import precision
from toynet.training.setup import on_threads

MOST_SECONDS = 3600
"""For one part; bench has five."""


def bench(
    recipe: Recipe,
    *,
    changes: Mapping[str, Any],
    seconds: float,
    keep: bool | None,
    data_root: Path | None,
    reporter: Reporter,
) -> BenchResult:
    """Measure `recipe` on this machine, each part for about `seconds`; keep the choice for `train` if wished.

    changes: what the recipe was overridden with, for the record. keep: none means yes, unless other work
    keeps the cores busy, since what is timed then would mislead every run to come.
    """
    keep_freed_memory()
    device, environment = precision.device(), describe()
    busy = busy_warning(asked_threads(recipe) or torch.get_num_threads())
    card = images.card(recipe.data, data_root, reporter)
    subject.check_crop(recipe, card.image_shape)
    size = cost(subject.build_model(recipe, card), card.image_shape)
    reporter.begin("choosing a set-up", 0, "parts")
    chosen = search(recipe, card, keep=not busy if keep is None else keep)
    resolved = with_setup(recipe, chosen.setup)
    with on_threads(chosen.setup.threads):
        reporter.begin("training steps", 0, "parts")
        trained = training(resolved, card, seconds)
        reporter.begin("evaluation", 0, "parts")
        answered = inference(resolved, card, seconds)
        reporter.begin("matrix products", 0, "parts")
        limit = limits(device, seconds)
        reporter.begin("convolutions", 0, "parts")
        convolved = convolution_rate(resolved, card, seconds)
        reporter.begin("micro-batches", 0, "parts")
        pieces = micro_batches(resolved, card)
    hints = advice(pieces, device=device, environment=environment)
    return BenchResult(
        recipe=recipe.name,
        changes=dict(changes),
        model=resolved.model.name,
        widths=resolved.model.widths or (),
        image_shape=card.image_shape,
        parameters=size.parameters,
        macs=size.macs,
        device=device,
        chosen=chosen,
        limits=limit,
        training=trained,
        inference=answered,
        achieved=_achieved(size.macs, trained, answered, convolved, limit.of(chosen.setup.precision)),
        micro_batches=pieces,
        advice=(busy, *hints) if busy else hints,
        environment=environment,
    )


def _achieved(
    macs: int, trained: Training, answered: Inference, convolved: float, limit_gflops: float
) -> tuple[Achieved, ...]:
    """GFLOP/s of the step, of its two passes, of the convolutions alone, and of evaluation."""
    gflop = FLOP_PER_MAC * macs / 1e9
    batch = PASSES * gflop * trained.batch_size
    rates = {
        "training step": batch / trained.step_ms.median * 1e3,
        "forward and backward": batch / trained.passes_ms.median * 1e3,
        "convolutions alone": convolved,
        "evaluation": gflop * answered.views * answered.images_per_s.median,
    }
    return tuple(
        Achieved(what=what, gflops=rate, of_limit=rate / limit_gflops) for what, rate in rates.items()
    )
