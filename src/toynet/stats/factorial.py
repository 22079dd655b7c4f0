"""Several on/off factors at once: every run tells something about every factor.

With N runs a main effect has SE 2 sigma / sqrt(N); one variant against a control, S runs each, has
sigma sqrt(2 / S). Four factors in 40 runs: 0.32 sigma against 0.50 sigma one at a time.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, product

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pandas import DataFrame
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from toynet.core.errors import UsageError, did_you_mean
from toynet.core.records import Record
from toynet.stats import contrasts, intervals, sequential
from toynet.stats.multiplicity import holm
from toynet.stats.records import Interval

Switches = Mapping[str, ArrayLike]
"""Factor -> truth values (runs,): whether it was on."""

Term = tuple[str, ...]  # one factor, or two that interact
Signs = NDArray[np.int64]  # (runs,) -1 and 1


class Effect(Record):
    """What turning one factor on changes (pp), averaged over the others, or how two depend on each other."""

    name: str
    """`dropout`, or `dropout x flip` for an interaction."""

    aliases: tuple[str, ...]
    """Effects of up to two factors that these runs cannot tell from it: the figure is the sum of them all,
    less those that begin with a minus."""

    effect: float
    """Mean where it is on less mean where it is off. Of an interaction: half of what turning one on changes
    in the other's effect."""

    error: float
    interval: Interval
    """Holds for all effects together with 95 % (Bonferroni)."""

    f: float
    p: float
    """Type-2 analysis of variance, adjusted for the number of effects (Holm)."""


class Factorial(Record):
    """All main effects and two-factor interactions that the runs can tell apart."""

    effects: tuple[Effect, ...]
    sigma: float
    """Residual standard deviation of one run (pp), with `df` degrees of freedom."""

    df: int
    blocks: int
    """Seeds in which every run counts."""

    def __getitem__(self, name: str) -> Effect:
        for effect in self.effects:
            if effect.name == name:
                return effect
        raise UsageError(f"there is no effect {name!r}; {did_you_mean(name, [e.name for e in self.effects])}")


def design(
    factors: Sequence[str], generated: Mapping[str, Sequence[str]] | None = None
) -> dict[str, NDArray[np.bool_]]:
    """Switches of all combinations of `factors`; a generated factor follows from the product of some of them.

    design(["a", "b", "c"], {"d": ["a", "b", "c"]}) is a 2^(4-1) in 8 runs. Signs are such that the run with
    everything off, the control, is in the design: a generated factor is on where an odd number of its parts
    is.
    """
    rows = np.array(list(product([False, True], repeat=len(factors))))
    found = {factor: rows[:, place] for place, factor in enumerate(factors)}
    for factor, parts in (generated or {}).items():
        if factor in found or len(parts) < 2 or not set(parts) <= set(factors):
            raise UsageError(
                f"factor {factor}: generate a new factor from two or more of {', '.join(factors)}"
            )
        found[factor] = np.logical_xor.reduce([found[part] for part in parts])
    return found


def aliases(switches: Switches) -> dict[str, tuple[str, ...]]:
    """Every effect of up to two factors that runs tell apart, with those that they cannot tell from it."""
    groups = _groups(_signs(switches))
    return {_name(term): tuple(names) for term, names in groups.items()}


def analyse(scores: ArrayLike, switches: Switches, *, seeds: ArrayLike) -> Factorial:
    """Effects of on/off factors on accuracy (percent), from runs in any order.

    scores: (runs,). seeds: (runs,) the block of each run. Least squares with blocks and all effects of up to
    two factors, larger ones count as noise; type-2 analysis of variance. Raises `UsageError` where the runs
    cannot carry that.
    """
    values, blocks, signs = np.asarray(scores, np.float64), np.asarray(seeds), _signs(switches)
    runs = len(next(iter(signs.values())))
    if values.shape != (runs,) or blocks.shape != (runs,) or not np.isfinite(values).all():
        raise UsageError(f"give {runs} finite scores and as many seeds, one for each row of the switches")
    groups = _groups(signs)
    codes = {factor: f"x{place}" for place, factor in enumerate(signs)}  # names may hold anything
    terms = {":".join(codes[factor] for factor in term): term for term in groups}
    frame = DataFrame({"score": values, "block": blocks} | {codes[f]: column for f, column in signs.items()})
    model = ols(f"score ~ C(block) + {' + '.join(terms)}", data=frame)
    if np.linalg.matrix_rank(model.exog) < model.exog.shape[1] or model.df_resid < 1:
        raise UsageError(
            f"{runs} runs cannot tell {len(groups)} effects and {len(set(blocks.tolist()))} seeds apart; "
            "run whole designs, on more seeds"
        )
    fitted = model.fit()
    table = anova_lm(fitted, typ=2)
    df = int(fitted.df_resid)
    critical = intervals.pair_critical(len(terms), df, sequential.LEVEL)
    sigma = float(np.sqrt(fitted.mse_resid))
    still = sigma < contrasts.ROUNDING  # without any spread nothing is improbable
    adjusted = np.ones(len(terms)) if still else holm(table.loc[list(terms), "PR(>F)"])
    effects = []
    for (code, term), p in zip(terms.items(), adjusted, strict=True):
        # Coded -1 and 1, a coefficient is half the difference between on and off.
        effect, error = 2 * float(fitted.params[code]), 0.0 if still else 2 * float(fitted.bse[code])
        effects.append(
            Effect(
                name=_name(term),
                aliases=tuple(groups[term]),
                effect=effect,
                error=error,
                interval=intervals.around(effect, error, critical),
                f=0.0 if still else float(table.loc[code, "F"]),
                p=float(p),
            )
        )
    return Factorial(
        effects=tuple(effects),
        sigma=0.0 if still else sigma,
        df=df,
        blocks=len(set(blocks.tolist())),
    )


def _signs(switches: Switches) -> dict[str, Signs]:
    """Truth values as -1 and 1. Raises `UsageError` for a factor that never changes."""
    found = {factor: np.asarray(column) for factor, column in switches.items()}
    if not found or len({column.shape for column in found.values()}) > 1:
        raise UsageError("switches: give at least one factor, and one truth value a run for each")
    for factor, column in found.items():
        if column.dtype != np.bool_ or column.ndim != 1:
            raise UsageError(f"factor {factor}: give truth values, one a run: on or off")
        if column.all() or not column.any():
            raise UsageError(f"factor {factor} is {'on' if column.all() else 'off'} in every run")
    return {factor: np.where(column, 1, -1) for factor, column in found.items()}


def _groups(signs: Mapping[str, Signs]) -> dict[Term, list[str]]:
    """One term for each distinguishable column of signs, main effects first, and the names of the others."""
    groups: dict[Term, list[str]] = {}
    for term in _terms(signs):
        column = _column(term, signs)
        if abs(column.sum()) == len(column):
            continue  # two factors that always change together: their interaction is a constant
        twin = next((t for t in groups if abs(_column(t, signs) @ column) == len(column)), None)
        if twin is None:
            groups[term] = []
        else:
            same = _column(twin, signs) @ column > 0
            groups[twin].append(_name(term) if same else f"-{_name(term)}")
    return groups


def _terms(factors: Iterable[str]) -> list[Term]:
    names = tuple(factors)
    return [*((name,) for name in names), *combinations(names, 2)]


def _column(term: Term, signs: Mapping[str, Signs]) -> Signs:
    return np.asarray(np.prod([signs[factor] for factor in term], axis=0), np.int64)


def _name(term: Term) -> str:
    return " x ".join(term)
