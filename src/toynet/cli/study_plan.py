"""A study's plan in lines, as it is told before the first run: while it can still be changed for nothing."""

from collections.abc import Iterator

from toynet.core.wording import counted
from toynet.stats import factorial
from toynet.studies import analysis, cautions, design
from toynet.studies.design import Arm
from toynet.studies.plan import Plan

_WORTH_FACTORS = 3
"""Variants of one key each from which on combining them sees more in as many runs."""


def lines(plan: Plan, jobs: int) -> Iterator[str]:
    """What each arm changes, which arms will get no verdict, and what the design cannot tell apart."""
    control, *variants = plan.arms
    metric = plan.spec.metric.replace("_", " ")
    split = ", each on a split of its own" if plan.spec.vary_split else ""
    yield (
        f"control {control.recipe.name} · "
        f"{counted(len(variants), 'cell' if plan.spec.factors else 'variant')} · {metric} · "
        f"seeds {plan.spec.seeds}{split} · {counted(jobs, 'run')} at once"
    )
    for arm in variants:
        yield f"  {_changed(arm)}"
    yield from _without_verdict(plan)
    yield from (caution.text for caution in cautions.unsettled(plan))
    yield from _aliases(plan)
    yield from _hint(plan)


def _changed(arm: Arm) -> str:
    what = "; ".join(str(change) for change in arm.changes) or "nothing: an identical arm"
    joint = len(arm.factors) > 1 and not arm.levels
    return f"{arm.name}: {what}{'  (joint effect only: several keys differ)' if joint else ''}"


def _without_verdict(plan: Plan) -> Iterator[str]:
    """Arms whose budget differs from that of the arm compared with, where the study does not declare it."""
    for arm in plan.arms:
        if reason := analysis.unequal_budgets(plan, arm):
            yield f"{arm.name} will get no verdict: {reason}"


def _aliases(plan: Plan) -> Iterator[str]:
    """Of a fraction of all combinations: effects that its runs show only together."""
    if plan.spec.generated:
        for effect, others in factorial.aliases(design.switches(plan.spec)).items():
            if others:
                yield f"effect of {effect}: not to be told from {', '.join(others)}"


def _hint(plan: Plan) -> Iterator[str]:
    """For variants that could be factors: each changes one key, and no two the same."""
    changes = [arm.changes for arm in plan.arms[1:]]
    if plan.spec.factors or plan.spec.chain or len(changes) < _WORTH_FACTORS:
        return
    keys = {change.key for one in changes for change in one}
    if all(len(one) == 1 for one in changes) and len(keys) == len(changes):
        yield (
            f"hint: these {len(changes)} variants change one key each; as [factors] (many of them: with "
            "[generated]) as many runs see smaller effects, and how the changes depend on each other"
        )
