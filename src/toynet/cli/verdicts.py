"""An account on stdout: a line for each arm, what must be known besides, and where to read on."""

from shlex import quote
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from toynet.stats.factorial import Factorial
    from toynet.studies.design import Arm
    from toynet.studies.folder import Account


def print_account(account: "Account", page: "Path | None", *, json: bool) -> None:
    """JSON holds the findings; the lines hold what can be quoted. page: where all of it can be read."""
    if json:
        print(account.findings.model_dump_json(indent=2))
        return
    for line in _lines(account):
        print(line)
    if page is not None:
        print(f"page: {page}")
    if advice := _next(account):
        print(f"next: {advice}")


def _lines(account: "Account") -> "Iterator[str]":
    from toynet.reporting import reproduction, words

    plan, findings = account.plan, account.findings
    yield f"\n{plan.spec.question or plan.spec.name}"
    width = max(len(arm.name) for arm in plan.arms)
    for arm in plan.arms:
        against = f" (against {arm.against})" if plan.spec.chain and arm.against else ""
        yield f"{arm.name:<{width}}{against}  {_told(account, arm)}"
    if findings.factorial:
        yield from _effects(findings.factorial)
    if reproduction.is_final(account):
        yield f"Test set {words.test_reads(plan.test_reads)}"
    for caution in findings.all_cautions():
        yield f"note: {caution.text}"


def _told(account: "Account", arm: "Arm") -> str:
    """The verdict on an arm, why there is none, or, of a control, its mean."""
    contrast = account.findings.contrast(arm.name)
    if contrast is not None:
        return f"{contrast.sentence}  {contrast.words}"
    if arm.against is None:
        return f"control: {_mean(account, arm.name)}"
    reasons = {one.arm: one.reason for one in account.findings.withheld}
    return f"{_mean(account, arm.name)}  no verdict: {reasons.get(arm.name, 'too few runs finished')}"


def _effects(factorial: "Factorial") -> "Iterator[str]":
    for effect in factorial.effects:
        low, high = effect.interval.low, effect.interval.high
        told = f"{effect.effect:+.2f} pp [{low:+.2f}, {high:+.2f}], p {effect.p:.2g}"
        alias = f", not to be told from {', '.join(effect.aliases)}" if effect.aliases else ""
        yield f"effect of {effect.name}: {told}{alias}"


def _next(account: "Account") -> str | None:
    """A final claim about the best of the variants that help."""
    plan = account.plan
    if account.path is None or plan.spec.metric == "test_accuracy":
        return None
    contrasts = [account.findings.contrast(arm.name) for arm in plan.arms]
    good = [one for one in contrasts if one is not None and one.verdict.startswith("helps")]
    if not good:
        return None
    best = max(good, key=lambda one: one.difference)
    return f"toynet final {quote(account.name)} --variant {quote(best.variant)}"


def _mean(account: "Account", arm: str) -> str:
    from statistics import mean

    from toynet.core.wording import counted

    metric = account.plan.spec.metric
    mine = (entry for (name, _), entry in account.entries.items() if name == arm)
    scores = [score for entry in mine if (score := entry.score(metric)) is not None]
    return f"{100 * mean(scores):.2f} %, {counted(len(scores), 'run')}" if scores else "no score"
