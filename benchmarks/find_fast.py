"""Looking for `fast` on a GPU: python benchmarks/find_fast.py OUT.json --seconds 400 --jobs 14

Every run takes one level of each of many factors and is scored on validation images. Runs begin with levels
drawn at random; then a linear model of what each level is worth, fitted to all runs so far, draws the next
ones (Thompson sampling), so that what seems good is tried more. Last, the settings that it holds for the best
are repeated over seeds. Sought is accuracy within a budget: what a run takes on two cores of an EPYC is
computed from a table of measured steps. Test images are never read. Needs CUDA, and CIFAR-10 in $TOYNET_DATA.
"""

import argparse
import functools
import itertools
import math
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toynet.core.environment import describe
from toynet.core.files import write_json

Changes = dict[str, Any]
Levels = dict[str, str]
"""A level by factor: all that a run's settings are."""

BUDGET_S = 530
"""Training on two cores of the EPYC."""

NOISE, SPREAD = 0.2, 0.2
"""Standard deviations, in points: of a run about the model, and of what levels are thought to be worth."""

WORST = 1.5
"""Points below the median that count at most: how badly a bad run ends tells little."""


def sgd(head: float = 1.0, bias: float = 1.0, decay: float = 1.0) -> Changes:
    """airbench's rates for batches of 500, for losses that are means, times what is given."""
    rates = {
        "optim.aux_lr": 0.0051 * head,
        "optim.aux_bias_lr": 26.5 * bias,
        "optim.aux_decay": 0.001 * decay,
    }
    return {"optim.aux": "sgd", **rates}


def cropped(side_px: int, until: float) -> Changes:
    return {"train.small": {"side_px": side_px, "until": until, "by": "crop"}}


def without_easy(share: float, after: float) -> Changes:
    return {"train.skip_easy": {"share": share, "after": after}}


FACTORS: dict[str, dict[str, Changes]] = {
    "epochs": {str(n): {"train.epochs": n} for n in range(7, 14)},
    "widths": {"256": {"model.widths": [64, 256, 256]}, "192": {"model.widths": [64, 192, 256]}},
    "small": {
        "none": {"train.small": None},
        "28 to 0.6": cropped(28, 0.6),
        "26 to 0.35": cropped(26, 0.35),
        "26 to 0.5": cropped(26, 0.5),
        "26 to 0.65": cropped(26, 0.65),
    },
    "easy": {
        "none": {"train.skip_easy": None},
        "0.25 after 0.5": without_easy(0.25, 0.5),
        "0.25 after 0.3": without_easy(0.25, 0.3),
        "0.4 after 0.5": without_easy(0.4, 0.5),
    },
    "batch": {str(n): {"train.batch_size": n} for n in (500, 1000)},
    "rate": {str(rate): {"optim.lr": rate} for rate in (0.09, 0.12, 0.14, 0.17)},
    "ns": {str(n): {"optim.ns_steps": n} for n in (2, 3)},
    "others": {
        "sgd": sgd(),
        "sgd, head 3": sgd(head=3),
        "sgd, head 3, decay 2": sgd(head=3, decay=2),
        "sgd, head 3, bias 2": sgd(head=3, bias=2),
        "adamw": {"optim.aux": "adamw", "optim.aux_lr": 0.005},
    },
    "momentum": {str(m): {"optim.momentum": m} for m in (0.6, 0.7)},
    "smoothing": {str(s): {"loss.label_smoothing": s} for s in (0.1, 0.15)},
    "dropout": {str(d): {"model.dropout": d} for d in (0.0, 0.1)},
    "crop": {str(n): {"augment.crop_pad_px": n} for n in (2, 3)},
    "freeze": {str(share): {"train.freeze": {"whiten": 0.3, "group1": share}} for share in (0.7, 0.8, 0.9)},
    "pieces": {str(n): {"train.micro_batch": n} for n in (250, 500)},
}

COSTLY = "epochs", "widths", "small", "easy", "batch", "ns", "freeze", "pieces"
"""Factors that a run's time depends on."""

STEP_MS, OPTIMISER_MS = {"256": 770, "192": 610}, {"256": 33, "192": 24}
"""By `widths`, for 500 images of 32 pixels: both passes, and an update with three Newton-Schulz steps."""

SMALLER = {"28": 0.7, "26": 0.62}
"""What images of so many pixels take, beside those of 32."""


def seconds(levels: Levels) -> float:
    """Of training on two cores, computed."""
    side, _, until = levels["small"].partition(" to ")
    share, _, after = levels["easy"].partition(" after ")
    epochs = range(int(levels["epochs"]))
    shown = sum(
        1 - float(share) if after and epoch >= float(after) * len(epochs) else 1.0 for epoch in epochs
    )
    moments = np.linspace(0, 1, 200)
    cost = np.where(moments < float(until or 0), SMALLER.get(side, 1.0), 1.0)
    cost *= np.where(moments > float(levels["freeze"]), 0.7, np.where(moments < 0.3, 1.0, 0.95))
    step = STEP_MS[levels["widths"]] * float(cost.mean()) * (0.97 if levels["pieces"] == "250" else 1.0)
    update = OPTIMISER_MS[levels["widths"]] * (0.8 if levels["ns"] == "2" else 1) * 500 / int(levels["batch"])
    return (step + update) / 1000 * 100 * shown


@functools.cache
def affordable() -> tuple[Levels, ...]:
    """All levels of what costs time that together keep to the budget."""
    every = itertools.product(*(FACTORS[factor] for factor in COSTLY))
    found = (dict(zip(COSTLY, levels, strict=True)) for levels in every)
    return tuple(levels for levels in found if seconds(levels) <= BUDGET_S)


class Worth:
    """What each level is worth in points: a Bayesian linear model of the runs so far."""

    def __init__(self, runs: list[dict[str, Any]]) -> None:
        self.names = [(factor, level) for factor, levels in FACTORS.items() for level in levels]
        design = np.array([self._row(run["levels"]) for run in runs]).reshape(len(runs), 1 + len(self.names))
        score = np.array([100 * run["accuracy"] for run in runs])
        centre = float(np.median(score)) if runs else 0.0
        precision = np.diag([1 / 9.0] + [1 / SPREAD**2] * len(self.names)) + design.T @ design / NOISE**2
        above = score.clip(min=centre - WORST) - centre
        self.mean: NDArray[np.float64] = np.linalg.solve(precision, design.T @ above / NOISE**2)
        self.spread: NDArray[np.float64] = np.linalg.cholesky(np.linalg.inv(precision))

    def _row(self, levels: Levels) -> list[float]:
        return [1.0] + [float(levels[factor] == level) for factor, level in self.names]

    def drawn(self, rng: np.random.Generator, *, boldness: float = 1.0) -> NDArray[np.float64]:
        """One belief of what every level is worth; at a `boldness` of 0 the mean of all."""
        return self.mean + boldness * self.spread @ rng.standard_normal(len(self.mean))

    def promise(self, levels: Levels) -> float:
        """Points, about the runs' median."""
        return float(np.dot(self._row(levels), self.mean))

    def best(self, belief: NDArray[np.float64]) -> Levels:
        """The levels within the budget that promise most."""
        value = dict(zip(self.names, belief[1:], strict=True))
        free = {
            factor: max(levels, key=lambda level, of=factor: value[of, level])
            for factor, levels in FACTORS.items()
            if factor not in COSTLY
        }
        return max(affordable(), key=lambda levels: sum(value[item] for item in levels.items())) | free

    def table(self) -> Iterator[str]:
        """A line for each factor: every level's worth and its standard error, the best first."""
        errors = np.sqrt((self.spread**2).sum(axis=1))
        found = dict(zip(self.names, zip(self.mean[1:], errors[1:], strict=True), strict=True))
        for factor, levels in FACTORS.items():
            told = sorted(((*found[factor, level], level) for level in levels), reverse=True)
            yield f"{factor:10}" + "; ".join(
                f"{level} {mean:+.2f} ±{error:.2f}" for mean, error, level in told
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=400)
    parser.add_argument("--jobs", type=int, default=14)
    parser.add_argument("--random", type=float, default=0.35, help="share of the time for levels at random")
    parser.add_argument("--repeat", type=float, default=0.75, help="share after which the best are repeated")
    parser.add_argument("--best", type=int, default=3, help="how many of the best")
    asked = parser.parse_args()
    began = time.perf_counter()
    done: list[dict[str, Any]] = []
    record: dict[str, Any] = {"environment": describe(), "runs": done}
    rng = np.random.default_rng(0)
    repeated: list[Levels] = []
    turns = (repeated[turn % len(repeated)] for turn in itertools.count())

    def next_levels() -> Levels | None:
        share = (time.perf_counter() - began) / asked.seconds
        if share >= 1:
            return None
        if share < asked.random:
            return {factor: str(rng.choice(list(levels))) for factor, levels in FACTORS.items()}
        worth = Worth(done)
        if share < asked.repeat:
            return worth.best(worth.drawn(rng))
        if not repeated:
            repeated.extend(ranked(worth, rng)[: asked.best])
        return next(turns)

    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(asked.jobs, multiprocessing.get_context("spawn")) as pool,
    ):
        for found in side_by_side(pool, asked.jobs, functools.partial(run, Path(folder)), next_levels):
            done.append(found)
            if len(done) % 20 == 0:
                print(f"{len(done)} runs, {time.perf_counter() - began:.0f} s", flush=True)
                write_json(asked.out, record)
    write_json(asked.out, record)
    print("\n".join(Worth(done).table()))
    for levels in repeated:
        scores = [100 * each["accuracy"] for each in done if each["levels"] == levels]
        error = statistics.stdev(scores) / math.sqrt(len(scores)) if len(scores) > 1 else math.nan
        line = f"{statistics.mean(scores):.2f} ±{error:.2f}, {len(scores)} runs, {seconds(levels):.0f} s"
        print(f"{line}: {levels}")


def ranked(worth: Worth, rng: np.random.Generator) -> list[Levels]:
    """Levels that some belief holds for the best, by what they promise on average."""
    found: list[Levels] = []
    for _ in range(200):
        levels = worth.best(worth.drawn(rng, boldness=0.5 if found else 0.0))
        if levels not in found:
            found.append(levels)
    return sorted(found, key=lambda levels: -worth.promise(levels))


def side_by_side(
    pool: ProcessPoolExecutor, jobs: int, make: Any, next_levels: Callable[[], Levels | None]
) -> Iterator[dict[str, Any]]:
    """Runs as they end, `jobs` at once, each with a seed of its own, until there are no levels any more."""
    running, seeds = set(), itertools.count()
    while True:
        while len(running) < jobs and (levels := next_levels()):
            running.add(pool.submit(make, levels, next(seeds)))
        if not running:
            return
        done, running = wait(running, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)


def run(folder: Path, levels: Levels, seed: int) -> dict[str, Any]:
    """One run of `fast` with `levels`, scored on validation images with six views."""
    from toynet.core.errors import Diverged
    from toynet.core.reporter import Silent
    from toynet.runs import execute
    from toynet.runs.recipe import Recipe

    changes: Changes = {}
    for factor, level in levels.items():
        changes |= FACTORS[factor][level]
    times = changes["train.batch_size"] / 500
    changes["optim.lr"] *= math.sqrt(times)
    for key in {"optim.aux_lr", "optim.aux_bias_lr", "optim.aux_decay"} & changes.keys():
        changes[key] *= times if changes["optim.aux"] == "sgd" else 1
    changes |= {"train.seed": seed, "data.protocol": "standard", "eval.test": False}
    changes |= {"train.precision": "bf16", "train.kernels": "direct", "train.threads": 1}
    changes |= {"train.memory_format": "channels_last", "train.checkpoint_every": 1000}
    recipe = Recipe.load("fast", changes)
    started = time.perf_counter()
    found: dict[str, Any] = {"levels": levels, "seed": seed, "two_core_s": seconds(levels)}
    try:
        result = execute.start(
            recipe, folder / str(seed), data_root=None, reporter=Silent(), illustrate=_nothing, about=about()
        )
    except Diverged as error:
        return found | {"accuracy": 0.1, "diverged": str(error)}
    return found | {"accuracy": result.val_accuracy, "s": time.perf_counter() - started}


@functools.cache
def about() -> Any:
    """The images and their split, read once in a process."""
    from toynet.core.reporter import Silent
    from toynet.runs import subject
    from toynet.runs.recipe import Recipe

    recipe = Recipe.load("fast", {"data.name": "cifar10", "data.protocol": "standard"})
    return subject.read(recipe, None, Silent())


def _nothing(_: object) -> None:
    """No pictures."""


if __name__ == "__main__":
    main()
