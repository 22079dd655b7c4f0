"""The fastest set-up of all, on any number of threads, and its way into the memory that `train` reads."""

from itertools import takewhile

import torch

from toynet.core.environment import usable_cores
from toynet.runs.folder import DataCard
from toynet.runs.recipe import Recipe
from toynet.runs.setups import Trial, asked_threads, memory_file, memory_key, options
from toynet.speed.records import Chosen
from toynet.training.choice import Timing, explain, fastest, time_setups
from toynet.training.remembered import recall, remember
from toynet.training.setup import CHOICES, Setup
from toynet.training.spec import TrainSpec


def search(recipe: Recipe, card: DataCard, *, keep: bool) -> Chosen:
    """Time what `recipe` leaves open on all cores, then the best on other numbers of threads.

    keep: whether `train` shall find the times and the choice.
    """
    asked = asked_threads(recipe)
    threads = asked or torch.get_num_threads()
    trial = Trial(recipe, card)
    timings = time_setups(options(recipe, card, threads), trial.seconds)
    best = fastest(timings).setup
    why = explain(best, timings)
    if asked is None and (others := thread_counts(usable_cores(), threads)):
        scaled = time_setups([_on(best, count) for count in (threads, *others)], trial.seconds)
        best = fastest(scaled).setup
        timings = (*timings, *scaled)
    timings = _once(timings)
    remembered = keep and _remember(recipe, card, best, timings)
    return Chosen(setup=best, why=why, timings=timings, remembered=remembered)


def thread_counts(cores: int, in_use: int) -> list[int]:
    """Powers of two below `cores`, then `cores`; without `in_use`, which is timed anyway."""
    powers = takewhile(lambda count: count < cores, (2**exponent for exponent in range(cores.bit_length())))
    return [count for count in (*powers, cores) if count != in_use]


def _on(setup: Setup, threads: int) -> Setup:
    return setup.model_copy(update={"threads": threads})


def _once(timings: tuple[Timing, ...]) -> tuple[Timing, ...]:
    """Fastest first, with the better time where a set-up was timed twice."""
    best: dict[Setup, Timing] = {}
    for timing in sorted(timings, key=lambda timing: timing.seconds):
        best.setdefault(timing.setup, timing)
    return tuple(best.values())


def _remember(recipe: Recipe, card: DataCard, best: Setup, timings: tuple[Timing, ...]) -> bool:
    """Keep the times; as the choice for all recipes only what was chosen among all."""
    memory, key = memory_file(), memory_key(recipe, card)
    entry = recall(memory, key).with_timings(timings)
    if _leaves_all_open(recipe.train) and asked_threads(recipe) is None:
        entry = entry.model_copy(update={"best": best})
    return remember(memory, key, entry)


def _leaves_all_open(spec: TrainSpec) -> bool:
    return all(getattr(spec, key) == "auto" for key in CHOICES)
