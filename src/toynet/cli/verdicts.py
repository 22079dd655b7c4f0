"""An account on stdout: a line for each arm, what must be known besides, and where to read on."""

from shlex import quote
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from toynet.studies.folder import Account


def print_account(account: "Account", page: "Path | None", *, json: bool) -> None:
    """JSON holds all findings; the lines hold what can be quoted. page: where all of it can be read."""
    plan, findings = account.plan, account.findings
    if json:
        print(findings.model_dump_json(indent=2))
        return
    print(f"\n{plan.spec.question or plan.spec.name}")
    width = max(len(arm.name) for arm in plan.arms)
    reasons = {one.arm: one.reason for one in findings.withheld}
    for arm in plan.arms:
        against = f" (against {arm.against})" if plan.spec.chain and arm.against else ""
        contrast = findings.contrast(arm.name)
        if contrast is not None:
            words = f"{contrast.sentence}  {contrast.words}"
        elif arm.against is None:
            words = f"control: {_mean(account, arm.name)}"
        else:
            words = (
                f"{_mean(account, arm.name)}  no verdict: {reasons.get(arm.name, 'too few runs finished')}"
            )
        print(f"{arm.name:<{width}}{against}  {words}")
    for effect in findings.factorial.effects if findings.factorial else ():
        low, high = effect.interval.low, effect.interval.high
        told = f"{effect.effect:+.2f} pp [{low:+.2f}, {high:+.2f}], p {effect.p:.2g}"
        alias = f", not to be told from {', '.join(effect.aliases)}" if effect.aliases else ""
        print(f"effect of {effect.name}: {told}{alias}")
    for caution in findings.all_cautions():
        print(f"note: {caution.text}")
    if page is not None:
        print(f"page: {page}")
    if advice := _next(account):
        print(f"next: {advice}")


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
    return f"toynet final {account.name} --variant {quote(best.variant)}"


def _mean(account: "Account", arm: str) -> str:
    from statistics import mean

    scores = [
        value
        for (name, _), entry in account.entries.items()
        if name == arm and (value := getattr(entry, account.plan.spec.metric)) is not None
    ]
    if not scores:
        return "no score"
    runs = "1 run" if len(scores) == 1 else f"{len(scores)} runs"
    return f"{100 * mean(scores):.2f} %, {runs}"
