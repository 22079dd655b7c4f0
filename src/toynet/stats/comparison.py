"""Variants against a control: from scores to verdicts."""

from collections.abc import Mapping, Sequence
from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike

from toynet.core.errors import UsageError, did_you_mean
from toynet.stats import contrasts, effects, intervals, power, sequential, tables, verdicts, warnings
from toynet.stats.contrasts import Scores
from toynet.stats.estimates import Estimate, Rules, look_at
from toynet.stats.multiplicity import holm
from toynet.stats.records import ArmScores, Comparison, Contrast, Interval, Looking
from toynet.stats.tables import Table, Unit


def compare(
    scores: Mapping[str, Sequence[float | None] | Scores],
    *,
    control: str,
    plan: Looking = "fixed",
    margin: float | None = None,
    unit: Unit = "percent",
    correct: Mapping[str, ArrayLike] | None = None,
    chance: float | None = None,
    family: int | None = None,
) -> Comparison:
    """Did the variants help? Accuracies of arms over the same seeds, judged against the arm `control`.

    scores: arm -> one score a seed, position s holding seed s in every arm, None for a run that failed.
    plan: `fixed`, all seeds judged once; `auto`, looks at 5, 8, 12 and 20; `open`, after every seed. Under
    the last two, arms that have stopped may be shorter than the control, and each verdict is that of the look
    at which its arm stopped, whatever came later.
    margin: the least difference (pp) that matters; by default 3 % of the control's error at the first look,
    0.2 at least. unit: of `scores` and `chance`; what comes back is always in pp.
    correct: arm -> truth values (seeds, images), which images each run got right; brings the interval for new
    images and the floor under the spread. chance: what guessing scores, for verdicts in spite of failures.
    family: how many contrasts share the 5 %, where a study judges more of them in other comparisons (a chain
    A-B, B-C, C-D is three comparisons of a family of 3); by default the variants of this one.

    Raises `UsageError` for what cannot be compared, naming the arm.
    """
    if plan not in ("fixed", "auto", "open"):
        raise UsageError(f"plan {plan!r}; {did_you_mean(str(plan), ('fixed', 'auto', 'open'))}")
    table = tables.read(scores, control=control, plan=plan, unit=unit, correct=correct)
    rules = Rules(
        plan=plan,
        margin=_default_margin(table, plan) if margin is None else _checked_margin(margin),
        variants=len(table.variants),
        chance=tables.chance(chance, unit),
        family=_checked_family(family, len(table.variants)),
    )
    found, running, last = _replay(table, rules)
    judged = _contrasts(table, found, rules)
    arms = tuple(_arm(table, arm, found[arm].look if arm in found else last) for arm in table.arms)
    sigma, rho = _spread(table, found, last)
    upcoming = sequential.next_look(plan, last) if running else None
    return Comparison(
        control=control,
        plan=plan,
        margin=rules.margin,
        family=rules.family,
        contrasts=judged,
        lost=tuple(variant for variant in table.variants if variant not in found),
        arms=arms,
        sigma=sigma,
        rho=rho,
        cautions=warnings.cautions(table, found, judged, arms, last),
        running=running if upcoming else (),
        next_look=upcoming,
    )


def _default_margin(table: Table, plan: Looking) -> float:
    """From the control's first look: a margin must not move while an arm waits for its verdict."""
    scores = table.scores[table.control]
    first = scores[: sequential.looks(plan, len(scores))[0]]
    return verdicts.margin_for(float(np.nanmean(first if np.isfinite(first).any() else scores)))


def _checked_margin(margin: float) -> float:
    if not (np.isfinite(margin) and margin > 0):
        raise UsageError(f"margin must be above 0 pp, got {margin:g}")
    return float(margin)


def _checked_family(family: int | None, variants: int) -> int:
    if family is None:
        return variants
    if isinstance(family, bool) or not isinstance(family, Integral) or family < variants:
        raise UsageError(f"family is {family!r}; it counts all contrasts, the {variants} here among them")
    return int(family)


def _replay(table: Table, rules: Rules) -> tuple[dict[str, Estimate], tuple[str, ...], int]:
    """Go through the plan's looks as they came: the estimates that count, who still runs, the last look.

    A look is taken once every arm that still runs has its seeds, so that a verdict does not depend on which
    of them was faster.
    """
    shortest, longest = table.seeds(table.arms), len(table.scores[table.control])
    running, found, last = table.variants, dict[str, Estimate](), 0
    for look in sequential.looks(rules.plan, longest if shortest >= sequential.FEWEST else shortest):
        if not running or table.seeds(running) < look:
            break
        last = look
        found |= {estimate.variant: estimate for estimate in look_at(table, running, look, rules)}
        running = tuple(v for v in running if _goes_on(table, v, found.get(v), look))
    return {variant: found[variant] for variant in table.variants if variant in found}, running, last


def _goes_on(table: Table, variant: str, estimate: Estimate | None, look: int) -> bool:
    """Whether more seeds may tell more; none will where every run of a variant fails, nor, after so many as a
    plan with an end would take, where scores do not differ from seed to seed."""
    if estimate is not None:
        return not estimate.settled and not (estimate.still and look >= sequential.LOOKS[-1])
    return bool(table.finished(variant, look).any())


def _contrasts(table: Table, found: Mapping[str, Estimate], rules: Rules) -> tuple[Contrast, ...]:
    adjusted = holm([estimate.p for estimate in found.values()], family=rules.family)
    return tuple(
        _contrast(table, estimate, float(p), rules)
        for estimate, p in zip(found.values(), adjusted, strict=True)
    )


def _contrast(table: Table, estimate: Estimate, p: float, rules: Rules) -> Contrast:
    variant, control = (table.block([arm], estimate.rows)[0] for arm in (estimate.variant, table.control))
    improvement, improvement_interval = effects.improvement(variant, control)
    visible = power.smallest_visible(estimate.error, df=estimate.df, critical=estimate.critical)
    image_error, new_images = _new_images(table, estimate)
    further = _further_seeds(estimate, rules)
    return Contrast(
        variant=estimate.variant,
        difference=estimate.difference,
        error=estimate.error,
        df=estimate.df,
        interval=estimate.interval,
        new_images=new_images,
        image_error=image_error,
        p=p,
        improvement=improvement,
        improvement_interval=improvement_interval,
        smallest_visible=visible,
        verdict=estimate.verdict,
        further_seeds=further,
        seeds=estimate.seeds,
        pooled=estimate.pooled,
        words=verdicts.words(estimate.verdict, further),
        sentence=verdicts.sentence(
            estimate.difference,
            estimate.interval,
            seeds=estimate.seeds,
            improvement=improvement,
            smallest_visible=visible,
        ),
    )


def _new_images(table: Table, estimate: Estimate) -> tuple[float | None, Interval | None]:
    """The error that the choice of images adds, and the interval that has it in."""
    variant, control = (table.bits(arm, estimate.rows) for arm in (estimate.variant, table.control))
    if variant is None or control is None:
        return None, None
    added = intervals.image_error(variant, control)
    return added, intervals.around(
        estimate.difference, float(np.hypot(estimate.error, added)), estimate.critical
    )


def _further_seeds(estimate: Estimate, rules: Rules) -> int | None:
    """None where it is not for want of seeds that a verdict is missing."""
    if estimate.verdict != "undecided" or estimate.capped:
        return None
    per_block = estimate.df // (estimate.seeds - 1)

    def critical(seeds: int) -> float:
        return sequential.critical(
            rules.plan,
            variants=rules.variants,
            seeds=seeds,
            df=per_block * (seeds - 1),
            pooled=estimate.pooled,
            family=rules.family,
        )

    spread = estimate.error * np.sqrt(estimate.seeds)
    return effects.further_seeds(spread, rules.margin, critical, seeds=estimate.seeds)


def _arm(table: Table, arm: str, look: int) -> ArmScores:
    rows = table.finished(arm, look)
    look = len(rows)
    scores, floor, real = table.block([arm], rows), None, None
    several = rows.sum() >= 2
    sigma = float(scores.std(ddof=1)) if several else None
    floors = table.floor([arm], rows) if several else None
    if sigma is not None and floors is not None:
        floor = float(floors[0])
        real = float(np.sqrt(max(0.0, sigma**2 - floor**2)))
    return ArmScores(
        name=arm,
        mean=float(scores.mean()) if rows.any() else None,
        sigma=sigma,
        floor=floor,
        real_spread=real,
        planned=look,
        failed=int((~rows).sum()),
    )


def _spread(table: Table, found: Mapping[str, Estimate], last: int) -> tuple[float | None, float | None]:
    """The residual and the correlation over the arms of the last look that finished every block."""
    base = table.finished(table.control, last)
    whole = [v for v, estimate in found.items() if estimate.look == last and (estimate.rows == base).all()]
    if not whole:
        return None, None
    scores = table.block([table.control, *whole], base)
    return contrasts.residual(scores), contrasts.correlation(scores)
