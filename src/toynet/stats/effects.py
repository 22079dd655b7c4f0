"""Sizes of effects that need no test: how often better, how many seeds more."""

from bisect import bisect_left
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri

from toynet.stats.contrasts import Scores
from toynet.stats.records import Interval

_NORMAL_95 = float(ndtri(0.975))

ROUND_NUMBERS = (
    *range(1, 11),
    *(digits * power for power in (1, 10, 100) for digits in (12, 15, 20, 25, 30, 40, 50, 60, 80, 100)),
)


def improvement(variant: Scores, control: Scores) -> tuple[float, Interval]:
    """P(a run of the variant beats one of the control), ties counting half, and its 95 % interval.

    Scores (seeds,) each. The estimate is Mann and Whitney's U / seeds^2, the interval Newcombe's method 5
    (2006, Statistics in Medicine 25:559). A bootstrap over seeds holds the truth in 40 to 90 % of studies of
    five seeds where this one does in 95 %, and is a single point where one arm won every pairing.
    """
    share = float(np.mean(np.greater.outer(variant, control) + 0.5 * np.equal.outer(variant, control)))
    seeds = len(variant)
    return share, Interval(low=_least_share(share, seeds), high=1 - _least_share(1 - share, seeds))


def further_seeds(
    spread: float, margin: float, critical: Callable[[int], float], *, seeds: int
) -> int | None:
    """About how many seeds beyond `seeds` settle the question, a round number; none above the last of them.

    spread: of one block's difference, pp. critical: of a number of seeds. An interval that reaches no more
    than half a margin to each side either excludes zero or lies within the margin, whatever the truth is.
    """

    def settles(further: int) -> bool:
        size = seeds + further
        return bool(critical(size) * spread / np.sqrt(size) <= margin / 2)

    place = bisect_left(ROUND_NUMBERS, True, key=settles)
    return ROUND_NUMBERS[place] if place < len(ROUND_NUMBERS) else None


@lru_cache(maxsize=4096)
def _least_share(share: float, seeds: int) -> float:
    """The smallest true share of pairings won that makes the observed one no surprise."""
    if share == 0:
        return 0.0

    def surprise(true: float) -> float:
        """Beyond 1.96 standard errors; their variance is that for exponential scores (Hanley & McNeil)."""
        shared = (seeds - 1) * ((1 - true) / (2 - true) + true / (1 + true))
        return float(share - true - _NORMAL_95 * np.sqrt(true * (1 - true) * (1 + shared)) / seeds)

    return float(brentq(surprise, 0, share - 1e-12))
