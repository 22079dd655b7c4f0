"""The page of a study: from its account to HTML and Markdown. No torch, no network, no clock."""

from typing import Any

from markupsafe import Markup

from toynet.evaluation.findings import Finding
from toynet.reporting import evidence, readings, reproduction, spread, story, words
from toynet.reporting.evidence import Diagnosed
from toynet.reporting.readings import Readings
from toynet.reporting.spread import Spread
from toynet.reporting.story import Row, Story
from toynet.reporting.templating import Page, render
from toynet.stats import sequential
from toynet.studies import analysis
from toynet.studies.folder import Account

_METHODS = {
    "fixed": "judged once, after all seeds. p is adjusted for the number of arms (Holm).",
    "auto": "judged at 5, 8, 12 and 20 seeds, each look at level "
    f"{sequential.LOOK_LEVEL}, which makes 5 % in all. p is adjusted for the number of arms (Holm), not for "
    f"looks: hold it against {sequential.LOOK_LEVEL}.",
    "open": "judged after every seed from the fifth on by an e-process that allows it; p holds at any time.",
}


def study_page(account: Account, command: str | None = None) -> Page:
    """All that the account and what is left of its run folders say.

    command: how the account was made, where that was not `toynet study`.
    """
    told, spec = story.tell(account), account.plan.spec
    part = "test" if words.images(spec.metric) == "test" else "val"
    read, arms = readings.read(account, part), account.plan.arms
    contrasts = [row.contrast for row in told.rows if row.contrast]
    seeds = sorted({seed for _, seed in account.entries})
    own_file = command is None and not reproduction.is_final(account)
    context: dict[str, Any] = {
        "name": account.name,
        "kind": "final claim" if reproduction.is_final(account) else "comparison" if command else "study",
        "story": told,
        "metric": words.metric(spec.metric),
        "images": words.images(spec.metric),
        "varied": spec.images_vary,
        "chain": spec.chain,
        "looks": not isinstance(spec.seeds, int),
        "wider": any(one.new_images for one in contrasts),
        "verdicts": tuple(words.VERDICTS.items()),
        "used": {line.verdict for line in (*told.effects, *(row.line for row in told.rows))},
        "seeds": seeds,
        "scores": tuple((arm.name, _scores(account, arm.name, seeds)) for arm in arms),
        "missing": _missing(account, read),
        "curves": _curves(told, read),
        "lost": any(not one.whole for mine in read.arms.values() for one in mine),
        "gaps": evidence.gaps(arms, read),
        "classes": evidence.classes(arms, read),
        "costs": _costs(account),
        "total": sum(cost.total_s for cost in account.findings.costs),
        "diagnoses": _diagnoses(account, read),
        "comparisons": account.findings.comparisons,
        "factorial": account.findings.factorial,
        "method": _METHODS[analysis.plan_of(spec)],
        "command": command or reproduction.command(account),
        "file": f"{account.name}.toml",
        "toml": reproduction.study_file(spec) if own_file else None,
        "recipe_files": reproduction.recipe_files(account) if own_file else (),
        "setting_out": reproduction.setting_out(account),
        "arms": arms,
    }
    return render("study", context)


def _scores(account: Account, arm: str, seeds: list[int]) -> tuple[str, ...]:
    """One for each seed: a percentage, what became of the run, or nothing where it was not wanted."""
    shown = []
    for seed in seeds:
        entry = account.entries.get((arm, seed))
        value = None if entry is None else story.score(account, entry)
        shown.append("" if entry is None else entry.outcome if value is None else f"{value:.2f}")
    return tuple(shown)


def _missing(account: Account, read: Readings) -> str:
    """Why curves, gap, classes and diagnosis are not there, or not whole; empty where they are."""
    damage = f" ({read.damaged[0]})" if read.damaged else ""
    total = len(account.entries)
    if not total:
        return "No run has ended yet, so there are no curves."
    if read.missing == total:
        return (
            "The run folders of this study are gone or cannot be read, so that curves, generalisation gap, "
            f"classes and diagnosis are left out{damage}. "
            "Scores, costs and verdicts come from the journal, which is whole."
        )
    if read.missing:
        return (
            f"{read.missing} of {total} run folders are gone or cannot be read{damage}: curves, "
            "generalisation gap, classes and diagnosis show the others. Scores, costs and verdicts are whole."
        )
    return ""


def _curves(told: Story, read: Readings) -> tuple[tuple[Row, tuple[Markup, ...]], ...]:
    known: dict[str, Spread | None] = {}
    found = []
    for place, row in enumerate(told.rows):
        for arm in (row.arm.name, row.against):
            if arm not in known:
                whole, lost = (
                    [one.records for one in read.of(arm) if one.whole == way] for way in (True, False)
                )
                known[arm] = Spread.of(whole, lost)
        ours = known[row.arm.name]
        if ours is not None:
            drawn = spread.panels(
                ours, known[row.against], name=f"arm{place}", who=row.arm.name, whom=row.against
            )
            found.append((row, tuple(map(Markup, drawn))))
    return tuple(found)


def _costs(account: Account) -> tuple[tuple[Any, Any, str], ...]:
    costs = account.findings.costs
    base = costs[0].run_s
    return tuple(
        (
            cost,
            account.plan.sizes[cost.arm],
            f"{cost.run_s / base:.2f} ×" if cost.run_s is not None and base else "–",
        )
        for cost in costs
    )


def _diagnoses(
    account: Account, read: Readings
) -> tuple[tuple[Finding, tuple[tuple[str, Diagnosed], ...]], ...]:
    """By finding, the gravest first: which arms show it. The finding is its first arm's."""
    by_code: dict[str, list[tuple[str, Diagnosed]]] = {}
    for arm in account.plan.arms:
        for one in evidence.diagnoses(arm.name, read):
            by_code.setdefault(one.finding.code, []).append((arm.name, one))
    groups = [(rows[0][1].finding, tuple(rows)) for rows in by_code.values()]
    order = ("serious", "moderate", "note")
    return tuple(sorted(groups, key=lambda group: order.index(group[0].severity)))
