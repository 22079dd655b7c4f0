"""How wide an interval must be: critical values, luck with the test set, new images."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import ndtr, stdtrit
from scipy.stats import chi2

from toynet.stats.records import Interval

Bits = NDArray[np.bool_]

_PERCENT = 100.0
_NORMAL_NODES, _SPREAD_NODES = 96, 96  # right to 1e-9 from 2 degrees of freedom, up to 20 variants
_NEGLIGIBLE = 1e-14


@lru_cache(maxsize=4096)
def dunnett_critical(variants: int, df: int, level: float) -> float:
    """c for which all |t| of `variants` against one control stay below c with probability 1 - level.

    Dunnett 1955 (JASA 50:1096), two-sided, equal sizes: the t share the control and the residual.
    """
    single, bonferroni = pair_critical(1, df, level), pair_critical(variants, df, level)
    if variants == 1:
        return single
    return float(brentq(lambda c: dunnett_cdf(c, variants, df) - (1 - level), single, bonferroni, xtol=1e-12))


@lru_cache(maxsize=4096)
def pair_critical(variants: int, df: int, level: float) -> float:
    """The same where every pair has a spread of its own: `level` is split evenly (Bonferroni)."""
    return float(-stdtrit(df, level / (2 * variants)))


def dunnett_cdf(c: float, variants: int, df: int) -> float:
    """P(max |t| <= c) for `variants` t of correlation 1/2 with `df` degrees of freedom.

    Given the control's mean and the residual the t are independent, so two nested integrals do, over fixed
    nodes: Gauss-Hermite for the normal mean z, Gauss-Legendre for s = sqrt(chi2 / df). SciPy's
    multivariate_t integrates in `variants` dimensions with random points, which is slower, right to four
    digits, and another number each time.
    """
    s, s_weights = _spread_nodes(df)
    z, z_weights = _NORMAL
    reach = np.sqrt(2) * c * s[:, None]
    inside = (ndtr(z + reach) - ndtr(z - reach)) ** variants
    return float(s_weights @ inside @ z_weights)


def around(difference: float, error: float, critical: float) -> Interval:
    """difference -/+ critical x error; unbounded where nothing can be said yet, whatever the spread."""
    half = np.inf if np.isinf(critical) else critical * error
    return Interval(low=difference - half, high=difference + half)


def lucky_spread(correct: Bits) -> float:
    """The standard deviation across seeds (pp) that luck with these test images alone would make.

    correct: (seeds, images), at least two seeds. sqrt(sum of S/(S-1) p(1-p)) / n with p the share of seeds
    that get an image right: Jordan 2023 (arXiv 2304.01910v4), section 3.
    """
    seeds, images = correct.shape
    right = correct.sum(0) / seeds
    return float(_PERCENT * np.sqrt((right * (1 - right)).sum() * seeds / (seeds - 1)) / images)


def image_error(variant: Bits, control: Bits) -> float:
    """The standard error (pp) that the choice of test images adds to a difference: (seeds, images) each.

    The variance over images of the mean difference, less what seeds put into it, over the number of images.
    """
    seeds, images = variant.shape
    total = variant.sum(0, dtype=np.int64) - control.sum(0, dtype=np.int64)
    # A difference of two truth values is -1, 0 or 1, so its square is their exclusive or.
    within = ((variant ^ control).sum(0) - total**2 / seeds) / (seeds - 1)
    beyond = (total / seeds).var(ddof=1) - within.mean() / seeds
    return float(_PERCENT * np.sqrt(max(0.0, beyond) / images))


@lru_cache(maxsize=4096)
def _spread_nodes(df: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights for s = sqrt(chi2 / df)."""
    low, high = np.sqrt(chi2.ppf(_NEGLIGIBLE, df) / df), np.sqrt(chi2.isf(_NEGLIGIBLE, df) / df)
    nodes, weights = np.polynomial.legendre.leggauss(_SPREAD_NODES)
    s = low + (high - low) * (nodes + 1) / 2
    density = 2 * df * s * chi2.pdf(df * s**2, df)
    return s, weights * density * (high - low) / 2


def _normal_nodes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The positive half of the nodes: what is integrated is the same at z and -z."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NORMAL_NODES)
    half = nodes > 0
    return nodes[half], weights[half] / weights[half].sum()


_NORMAL = _normal_nodes()
