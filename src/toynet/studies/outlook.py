"""What a plan will cost and what it can see, told before its first run."""

import statistics
from bisect import bisect_left
from itertools import pairwise
from math import exp, log
from operator import attrgetter

from toynet.core.errors import ToyNetError
from toynet.core.records import Record
from toynet.core.wording import counted, duration
from toynet.runs.setups import Trial
from toynet.stats import power, sequential
from toynet.studies import analysis, design
from toynet.studies.folder import StudyFolder
from toynet.studies.plan import Plan
from toynet.studies.preparation import Prepared
from toynet.training.setup import stated

_PUBLISHED = ((1, 1.33), (4, 0.56), (16, 0.19), (64, 0.15))
"""Epochs, and the standard deviation over seeds (pp) of 60,000 ResNet-9 trainings on CIFAR-10.

Jordan, "On the Variance of Neural Network Training", arXiv 2304.01910."""

_BESIDE_THE_PASS = 1.1  # optimiser, augmentation and validation, as a share of forward and backward
_AROUND_A_RUN_S = 1.0


class Outlook(Record):
    """sigma: how much one run is expected to vary over seeds, pp; source: who says so. Times in seconds."""

    sigma: float
    source: str
    seen: str
    run_s: float
    """A run of the control."""

    least_s: float
    """All runs up to the first look, side by side."""

    most_s: float | None
    """All runs if no arm stops before the last look; none for a study without an end."""

    def __str__(self) -> str:
        total = duration(self.least_s)
        if self.most_s is None:
            total = f"{total} to the first look"
        elif self.most_s > self.least_s:
            total = f"{total} to the first look, {duration(self.most_s)} if no arm stops before the last"
        return f"{self.seen} ({self.source}); a run takes about {duration(self.run_s)}, all about {total}"


def outlook(folder: StudyFolder, prepared: Prepared, jobs: int) -> Outlook:
    """Time one step, and look for earlier studies of the same control beside `folder`."""
    plan, spec = prepared.plan, prepared.plan.spec
    sigma, source = _earlier_spread(folder, plan) or _published_spread(plan)
    kind, first = analysis.plan_of(spec), analysis.first_look(spec)
    last = {"fixed": first, "auto": sequential.LOOKS[-1], "open": None}[kind]
    run_s = _run_seconds(prepared)
    macs = plan.sizes[plan.control.name].macs * plan.sizes[plan.control.name].samples
    block_s = sum(run_s * size.macs * size.samples / macs for size in plan.sizes.values()) / jobs
    family = analysis.family(plan)
    together = 1 if spec.chain else family
    seen = power.outlook(sigma=sigma, seeds=last or first, plan=kind, variants=together, family=family)
    return Outlook(
        sigma=sigma,
        source=source,
        seen=seen,
        run_s=run_s,
        least_s=block_s * first,
        most_s=None if last is None else block_s * last,
    )


def _run_seconds(prepared: Prepared) -> float:
    """Of the control, from the best of three passes over one micro-batch on its threads."""
    control = prepared.plan.control
    recipe, card = control.recipe, prepared.images[control.name].card
    trial, setup = Trial(recipe, card), stated(recipe.train)
    pass_s = min(trial.seconds(setup) for _ in range(3))
    images = recipe.train.micro_batch or recipe.train.batch_size
    return _AROUND_A_RUN_S + _BESIDE_THE_PASS * pass_s * prepared.plan.sizes[control.name].samples / images


def _earlier_spread(folder: StudyFolder, plan: Plan) -> tuple[float, str] | None:
    """Of an arm with the control's recipe and images, in this study's own journal or in one beside it."""
    for other in folder.neighbours():
        try:
            found = _spread_in(other, plan)
        except ToyNetError:
            continue  # a damaged neighbour is none of our business
        if found is not None:
            return found, f"as in study {other.path.name}"
    return None


def _spread_in(other: StudyFolder, plan: Plan) -> float | None:
    theirs = other.plans()[-1]
    kind = attrgetter("digest", "spec.metric", "spec.vary_split")
    if kind(theirs) != kind(plan):
        return None
    for arm in theirs.arms:
        if not design.differences(arm.recipe, plan.control.recipe):
            scores = analysis.scores(theirs.spec, arm.name, other.ledger.entries())
            known = [score for score in scores if score is not None]
            spread = statistics.stdev(known) if len(known) >= sequential.FEWEST else 0.0
            return spread or None
    return None


def _published_spread(plan: Plan) -> tuple[float, str]:
    """A straight line between published figures, both axes logarithmic."""
    epochs = plan.control.recipe.train.epochs
    known = [number for number, _ in _PUBLISHED]
    place = min(max(bisect_left(known, epochs), 1), len(known) - 1)
    (low, spread), (high, other) = list(pairwise(_PUBLISHED))[place - 1]
    share = min(max(log(epochs / low) / log(high / low), 0.0), 1.0)
    sigma = exp((1 - share) * log(spread) + share * log(other))
    return (
        sigma,
        f"sigma as published for {counted(epochs, 'epoch')} of a ResNet-9 on CIFAR-10; yours will differ",
    )
