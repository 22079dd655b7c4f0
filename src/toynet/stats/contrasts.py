"""Variants against a control over the same seeds: the paired block model.

score(arm, seed) = mean(arm) + block(seed) + noise. Every seed is a block: what its runs share (order, draws
of augmentation) falls out of the differences. With one variant this is the paired t-test.

Arrays of scores are (arms, seeds) in pp, the control in row 0, every block complete.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import levene

Scores = NDArray[np.float64]

LARGEST_RATIO = 2.0
LEVENE_LEVEL = 0.05
ROUNDING = 1e-9  # pp; a spread below this is the rounding of sums, not noise of training


@dataclass(frozen=True)
class Fit:
    """Differences from the control and their standard errors, (variants,) each, in pp."""

    difference: Scores
    error: Scores
    df: int
    pooled: bool
    raised: NDArray[np.bool_]
    """Where the floor, not the scores, set the error."""


def fit(scores: Scores, floor: Scores | None = None) -> Fit:
    """Pool the spread over the arms, or, where arms differ in spread, take each pair's own.

    floor: (arms,) the least standard deviation each arm can have; it can only widen.
    """
    return own(scores, floor) if len(scores) > 2 and unequal(scores) else pooled(scores, floor)


def pooled(scores: Scores, floor: Scores | None = None) -> Fit:
    """SE = s sqrt(2 / seeds) with the residual s of all arms and (arms - 1)(seeds - 1) degrees of freedom."""
    arms, seeds = scores.shape
    found, least = residual(scores), 0.0 if floor is None else float(np.sqrt(np.mean(floor**2)))
    error = np.full(arms - 1, max(found, least) * np.sqrt(2 / seeds))
    raised = np.full(arms - 1, least > found)
    return Fit(_differences(scores).mean(1), error, (arms - 1) * (seeds - 1), pooled=True, raised=raised)


def own(scores: Scores, floor: Scores | None = None) -> Fit:
    """The paired t-test of every variant alone, with seeds - 1 degrees of freedom."""
    difference, seeds = _differences(scores), scores.shape[1]
    spread = difference.std(1, ddof=1)
    spread[spread < ROUNDING] = 0
    least = np.zeros_like(spread) if floor is None else np.hypot(floor[1:], floor[0])
    error = np.maximum(spread, least) / np.sqrt(seeds)
    return Fit(difference.mean(1), error, seeds - 1, pooled=False, raised=least > spread)


def still(scores: Scores) -> NDArray[np.bool_]:
    """Whether each variant's difference from the control is the same in every block, (variants,)."""
    found: NDArray[np.bool_] = _differences(scores).std(1, ddof=1) < ROUNDING
    return found


def residual(scores: Scores) -> float:
    """Standard deviation of the noise: what is left of (arms, seeds) without means of arms and blocks."""
    arms, seeds = scores.shape
    left = scores - scores.mean(1, keepdims=True)
    left = left - left.mean(0)
    found = float(np.sqrt((left**2).sum() / ((arms - 1) * (seeds - 1))))
    return found if found >= ROUNDING else 0.0


def correlation(scores: Scores) -> float | None:
    """Mean covariance of two arms over the mean variance of one; none where nothing varies.

    Equals 1 - residual^2 / mean variance, since the block model's residual is variance less covariance.
    """
    variance = scores.var(1, ddof=1).mean()
    if variance < ROUNDING**2:
        return None
    return float(1 - residual(scores) ** 2 / variance)


def unequal(scores: Scores) -> bool:
    """Whether arms differ in spread: standard deviations more than twofold, or Levene's test (medians).

    Pooling would then call too much real: a control twice as noisy as five variants makes 12 % false
    positives out of 5 %.
    """
    sigma = scores.std(1, ddof=1)
    if sigma.max() < ROUNDING:
        return False
    if sigma.max() > LARGEST_RATIO * sigma.min():
        return True
    if scores.shape[1] < 3:
        return False  # two seeds lie equally far from their median: Levene's test has no denominator
    return bool(levene(*scores, center="median").pvalue < LEVENE_LEVEL)


def _differences(scores: Scores) -> Scores:
    return np.asarray(scores[1:] - scores[0], np.float64)
