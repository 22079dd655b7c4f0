"""Choosing the set-up of a step by timing it."""

import math
import time
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

from toynet.core.records import Record
from toynet.training.setup import Setup

Candidate = TypeVar("Candidate", bound=Hashable)

_ROUNDS, _FEWEST_ROUNDS = 5, 3
_ENOUGH_S = 2.0
_HOPELESS, _BEYOND_DOUBT = 1.5, 3.0
_LONG_S = 1.0
_FASTER, _CLEARLY_FASTER = 1.02, 1.05


class Timing(Record):
    """The best time of a step in one set-up."""

    setup: Setup
    seconds: float


def race(candidates: Sequence[Candidate], seconds: Callable[[Candidate], float]) -> dict[Candidate, float]:
    """Time every candidate, in turn, and keep the best time of each.

    In turn, because a busy moment must not decide for all runs to come. seconds: times one step. The first
    round pays for making kernels and memory ready; after the second, what takes half as much again as the
    best is timed no more, and after a first one of more than a second what takes three times as long. After
    `_ENOUGH_S` seconds a race of `_FEWEST_ROUNDS` rounds is decided.
    """
    best = dict.fromkeys(candidates, math.inf)
    running = list(candidates)
    started = time.perf_counter()
    for number in range(1, _ROUNDS + 1):
        for one in running:
            best[one] = min(best[one], seconds(one))
        elapsed = time.perf_counter() - started
        if number > 1 or elapsed > _LONG_S:
            bound = min(best.values()) * (_HOPELESS if number > 1 else _BEYOND_DOUBT)
            running = [one for one in running if best[one] < bound]
        if len(running) == 1 or (number >= _FEWEST_ROUNDS and elapsed > _ENOUGH_S):
            break
    return best


def time_setups(setups: Sequence[Setup], seconds: Callable[[Setup], float]) -> tuple[Timing, ...]:
    """The times of a race of `setups`."""
    return tuple(Timing(setup=setup, seconds=best) for setup, best in race(setups, seconds).items())


def fastest(timings: Sequence[Timing]) -> Timing:
    """The choice among `timings`, from the plainest set-up to the boldest.

    A bolder one is taken only where it is faster beyond doubt: by 2 %, or by 5 % from fp32 to bf16.
    """
    held, *bolder = sorted(timings, key=lambda timing: timing.setup.boldness)
    for timing in bolder:
        other = timing.setup.precision != held.setup.precision
        if held.seconds > timing.seconds * (_CLEARLY_FASTER if other else _FASTER):
            held = timing
    return held


def explain(chosen: Setup, timings: Sequence[Timing]) -> str:
    """The times of a step, the chosen set-up's first: `a step takes 398 ms; 452 in bf16, direct kernels`."""
    first = next(timing for timing in timings if timing.setup == chosen)
    others = sorted((t for t in timings if t.setup != chosen), key=lambda timing: timing.seconds)
    rest = [f"{t.seconds * 1e3:.0f} in {t.setup.name}" for t in others]
    return "; ".join([f"a step takes {first.seconds * 1e3:.0f} ms", *rest])
