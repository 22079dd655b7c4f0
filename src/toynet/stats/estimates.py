"""One look at a table: every variant against the control with the seeds there are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from toynet.stats import contrasts, intervals, sequential, verdicts
from toynet.stats.contrasts import Fit
from toynet.stats.intervals import Bits
from toynet.stats.records import Interval, Looking, Verdict
from toynet.stats.tables import Table


@dataclass(frozen=True)
class Rules:
    """What was settled before the first run."""

    plan: Looking
    margin: float
    variants: int
    """As many as the comparison began with."""

    family: int
    """All contrasts that share the level, those of other comparisons among them."""

    chance: float | None
    """The score (percent) to give a failed run, to see whether a verdict survives its failures."""


@dataclass(frozen=True)
class Estimate:
    """One variant at one look; pp."""

    variant: str
    rows: Bits
    """(seeds planned up to this look,) the blocks in which variant and control both finished."""

    difference: float
    error: float
    df: int
    pooled: bool
    critical: float
    p: float
    """Unadjusted."""

    still: bool
    """Whether the difference is the same in every block, so that the size of the noise is unknown."""

    unequal: bool
    """Whether arms differ in spread, so that this pair is judged by its own."""

    raised: bool
    """Whether the floor, not the scores, set the error."""

    verdict: Verdict
    capped: bool
    """Whether failures took the verdict away that the complete blocks would give."""

    @property
    def look(self) -> int:
        return len(self.rows)

    @property
    def seeds(self) -> int:
        return int(self.rows.sum())

    @property
    def settled(self) -> bool:
        """Whether the variant needs no more seeds: it has a verdict."""
        return _is_settled(self.verdict)

    @property
    def interval(self) -> Interval:
        return intervals.around(self.difference, self.error, self.critical)


def look_at(table: Table, variants: Sequence[str], look: int, rules: Rules) -> list[Estimate]:
    """Judge `variants` on the first `look` seeds; those with fewer than two common blocks are left out.

    A variant that failed where the control finished is judged alone on the blocks that both finished, so that
    it costs the others nothing. A block without the control is of no use to anyone.
    """
    base = table.finished(table.control, look)
    rows = {variant: base & table.finished(variant, look) for variant in variants}
    whole = [variant for variant in variants if (rows[variant] == base).all()]
    together = rules.plan != "open"
    groups = [(whole, base)] if together else [([variant], base) for variant in whole]
    groups += [([variant], rows[variant]) for variant in variants if variant not in whole]
    found: dict[str, Estimate] = {}
    for group, common in groups:
        if group and common.sum() >= 2:
            found |= _judge(table, group, common, rules, together=together and group == whole)
    return [found[variant] for variant in variants if variant in found]


def _judge(
    table: Table, variants: Sequence[str], rows: Bits, rules: Rules, *, together: bool
) -> dict[str, Estimate]:
    """Estimates of variants that have the same complete blocks."""
    arms, look, seeds = [table.control, *variants], len(rows), int(rows.sum())
    scores, floor = table.block(arms, rows), table.floor(arms, rows)
    fitted = contrasts.fit(scores, floor) if together else contrasts.own(scores, floor)
    critical = _critical(fitted, seeds, rules)
    same = contrasts.still(scores)
    found = {}
    for place, variant in enumerate(variants):
        difference, error = float(fitted.difference[place]), float(fitted.error[place])
        failed = any(not table.finished(arm, look).all() for arm in (table.control, variant))
        still = error == 0 or bool(same[place])
        verdict = "description only" if still else _verdict(difference, error, critical, seeds, rules)
        capped = (
            failed
            and _is_settled(verdict)
            and _with_failures_as_chance(table, variant, look, rules) != verdict
        )
        found[variant] = Estimate(
            variant=variant,
            rows=rows,
            difference=difference,
            error=error,
            df=fitted.df,
            pooled=fitted.pooled,
            critical=critical,
            # Without any spread nothing is improbable.
            p=1.0 if still else sequential.p_value(rules.plan, difference / error, seeds=seeds, df=fitted.df),
            still=still,
            unequal=together and not fitted.pooled,
            raised=bool(fitted.raised[place]) and not still,
            verdict="undecided" if capped else verdict,
            capped=capped,
        )
    return found


def _verdict(difference: float, error: float, critical: float, seeds: int, rules: Rules) -> Verdict:
    if seeds < sequential.FEWEST or error == 0:
        return "description only"
    return verdicts.verdict(intervals.around(difference, error, critical), rules.margin)


def _is_settled(verdict: Verdict) -> bool:
    return verdict not in ("undecided", "description only")


def _with_failures_as_chance(table: Table, variant: str, look: int, rules: Rules) -> Verdict | None:
    """The verdict on all blocks with failed runs scored as guessing; none where that score is unknown."""
    if rules.chance is None:
        return None
    scores = np.stack([table.scores[arm][:look] for arm in (table.control, variant)])
    fitted = contrasts.own(np.where(np.isfinite(scores), scores, rules.chance))
    critical = _critical(fitted, look, rules)
    return _verdict(float(fitted.difference[0]), float(fitted.error[0]), critical, look, rules)


def _critical(fitted: Fit, seeds: int, rules: Rules) -> float:
    return sequential.critical(
        rules.plan,
        variants=rules.variants,
        seeds=seeds,
        df=fitted.df,
        pooled=fitted.pooled,
        family=rules.family,
    )
