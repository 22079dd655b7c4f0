"""What a plan can see, told before the first run.

Effects and spreads are in pp. sigma: the standard deviation of one run across seeds, from a pilot or an
earlier study. rho: the correlation of two arms in one block; 0, where nothing is known, is on the safe side.
family: all contrasts that share the level, where a study judges more than these variants.
"""

from functools import lru_cache

import numpy as np
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import nctdtr, ndtri
from scipy.stats import chi2, multivariate_normal

from toynet.core.errors import UsageError
from toynet.core.seeds import stream
from toynet.stats import contrasts, sequential
from toynet.stats.records import Looking

WANTED = 0.8
MOST_SEEDS = 10_000

_HOPELESS = 1e4  # times sigma: what no plan would call an effect
_CERTAIN = 10.0  # times the critical value: an effect that is always seen, and beyond SciPy's noncentral t
_NEVER = 1e-12  # as an argument of the normal quantile, which is infinite at 0 and 1


def detection(effect: float, error: float, *, df: int, critical: float) -> float:
    """The chance that `critical` standard errors around an estimate exclude zero on the side of `effect`.

    Exact, by the noncentral t.
    """
    if np.isinf(critical):
        return 0.0
    shift = abs(effect) / error
    return 1.0 if shift > _CERTAIN * critical else float(1 - nctdtr(df, shift, critical))


def smallest_visible(error: float, *, df: int, critical: float, wanted: float = WANTED) -> float:
    """The effect that an interval of `critical` standard errors excludes zero for with chance `wanted`."""
    return np.inf if np.isinf(critical) else error * _shift(df, critical, wanted)


def power(
    effect: float,
    *,
    sigma: float,
    seeds: int,
    plan: Looking = "fixed",
    variants: int = 1,
    rho: float = 0.0,
    family: int | None = None,
) -> float:
    """The chance that a plan of `variants`, run to `seeds` seeds, tells one true `effect` from zero.

    Under `auto`, at any look: exact at each, joined as if their statistics were normal (2 points too low at
    most). Under `open`, at the last seed alone.
    """
    _check(sigma=sigma, seeds=seeds, variants=variants, rho=rho, family=family)
    looks = sequential.looks(plan, seeds)[-1:] if plan == "open" else sequential.looks(plan, seeds)
    chances = [_at_look(effect, sigma * np.sqrt(1 - rho), look, plan, variants, family) for look in looks]
    return _at_any(chances, looks)


def visible(
    *,
    sigma: float,
    seeds: int,
    plan: Looking = "fixed",
    variants: int = 1,
    rho: float = 0.0,
    family: int | None = None,
    wanted: float = WANTED,
) -> float:
    """The effect that a plan tells from zero with chance `wanted`; infinite where it can tell none."""

    def short(effect: float) -> float:
        return wanted - power(
            effect, sigma=sigma, seeds=seeds, plan=plan, variants=variants, rho=rho, family=family
        )

    high = sigma
    while short(high) > 0:
        if high > _HOPELESS * sigma:
            return np.inf
        high *= 2
    return float(brentq(short, 0, high, xtol=1e-4 * sigma))


def seeds_needed(
    effect: float,
    *,
    sigma: float,
    variants: int = 1,
    rho: float = 0.0,
    family: int | None = None,
    wanted: float = WANTED,
) -> int | None:
    """The fewest seeds, 5 at least, with which a fixed plan sees `effect`; none above `MOST_SEEDS`."""
    low = high = sequential.FEWEST

    def sees(seeds: int) -> bool:
        found = power(effect, sigma=sigma, seeds=seeds, variants=variants, rho=rho, family=family)
        return found >= wanted

    while not sees(high):
        if high == MOST_SEEDS:
            return None
        low, high = high + 1, min(2 * high, MOST_SEEDS)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if sees(middle) else (middle + 1, high)
    return high


def outlook(
    *,
    sigma: float,
    seeds: int,
    plan: Looking = "fixed",
    variants: int = 1,
    rho: float = 0.0,
    family: int | None = None,
) -> str:
    """One line on the first look and the last: what a plan sees there, 4 times in 5."""
    looks = sequential.looks(plan, seeds)
    if looks[-1] < sequential.FEWEST:
        return f"with sigma {sigma:.2f} this plan only describes: a verdict needs {sequential.FEWEST} seeds"
    seen = [
        (visible(sigma=sigma, seeds=look, plan=plan, variants=variants, rho=rho, family=family), look)
        for look in sorted({looks[0], looks[-1]})
    ]
    parts = ", ".join(
        f"{'nothing' if np.isinf(effect) else f'{effect:.2f} pp'} at {look} seeds" for effect, look in seen
    )
    return f"with sigma {sigma:.2f} this plan can see {parts}"


@lru_cache(maxsize=4096)
def chance_unequal(variants: int, seeds: int) -> float:
    """How often arms of equal spread differ more than twofold by luck, in `contrasts.unequal`.

    The range of `variants` + 1 independent chi-squares: the smallest is x, the others lie in (x, 4 x).
    Levene's test adds at most its 5 %, mostly to the same studies; it is left out.
    """
    df, widest = seeds - 1, contrasts.LARGEST_RATIO**2
    within, _ = quad(
        lambda x: (variants + 1) * chi2.pdf(x, df) * (chi2.cdf(widest * x, df) - chi2.cdf(x, df)) ** variants,
        0,
        chi2.isf(1e-14, df),
        limit=200,
    )
    return float(1 - within)


def _at_look(
    effect: float, sigma: float, seeds: int, plan: Looking, variants: int, family: int | None
) -> float:
    """Both ways of `contrasts.fit`, pooled and pair by pair, weighed by how often they are taken."""
    alone = 1.0 if plan == "open" else chance_unequal(variants, seeds) if variants > 1 else 0.0
    error, chance = sigma * np.sqrt(2 / seeds), 0.0
    for share, pooled in ((1 - alone, True), (alone, False)):
        df = (variants if pooled else 1) * (seeds - 1)
        critical = sequential.critical(
            plan, variants=variants, seeds=seeds, df=df, pooled=pooled, family=family
        )
        chance += share * detection(effect, error, df=df, critical=critical)
    return chance


def _at_any(chances: list[float], looks: tuple[int, ...]) -> float:
    """The chance of at least one of correlated events, one a look."""
    if len(looks) == 1:
        return chances[0]
    sizes = np.array(looks, np.float64)
    correlation = np.sqrt(np.minimum.outer(sizes, sizes) / np.maximum.outer(sizes, sizes))
    # SciPy integrates with random points; a fixed stream makes equal questions get equal answers.
    none = multivariate_normal.cdf(
        -ndtri(np.clip(chances, _NEVER, 1 - _NEVER)), cov=correlation, rng=stream(0, "power")
    )
    return float(1 - none)


@lru_cache(maxsize=4096)
def _shift(df: int, critical: float, wanted: float) -> float:
    high = _CERTAIN * critical
    return float(brentq(lambda shift: detection(shift, 1.0, df=df, critical=critical) - wanted, 0, high))


def _check(*, sigma: float, seeds: int, variants: int, rho: float, family: int | None) -> None:
    if not (np.isfinite(sigma) and sigma > 0):
        raise UsageError(f"sigma must be above 0 pp, got {sigma:g}")
    if seeds < 2 or variants < 1:
        raise UsageError(f"a plan needs 2 seeds and 1 variant at least, got {seeds} and {variants}")
    if family is not None and family < variants:
        raise UsageError(f"a family of {family} cannot hold {variants} variants")
    if not 0 <= rho < 1:
        raise UsageError(f"rho must be at least 0 and below 1, got {rho:g}")
