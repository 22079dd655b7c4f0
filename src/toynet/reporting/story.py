"""From a study's account to what its page says, in the order in which it says it. Numbers, no markup."""

from collections.abc import Sequence
from dataclasses import dataclass

from toynet.core.wording import counted
from toynet.reporting import answer, effects, reproduction, strips, words
from toynet.reporting.answer import Judged, Sentence
from toynet.reporting.effects import Line
from toynet.reporting.strips import Axis, Pairs
from toynet.reporting.words import Warned
from toynet.stats.records import Caution, Comparison, Contrast
from toynet.studies import analysis
from toynet.studies.design import Arm
from toynet.studies.folder import Account
from toynet.studies.ledger import Entry

Fact = tuple[str, str]

_MORE_RUNS = "Go on with the study: the command that began it and --resume."
_MORE_SEEDS = "Train the arms with more seeds that both have, or make it a study: toynet study does both."
_UNFAIR = ("unequal budgets", "runs of")  # how a reason begins that is not about missing or failed runs


@dataclass(frozen=True)
class Row:
    """An arm beside what it is compared with."""

    arm: Arm
    against: str
    line: Line
    contrast: Contrast | None
    margin: float | None
    pairs: Pairs | None


@dataclass(frozen=True)
class Story:
    """All of a page that needs no run folders."""

    question: str
    answers: tuple[Sentence, ...]
    noun: str
    facts: tuple[Fact, ...]
    effects: tuple[Line, ...]
    """Of factors; empty for a study of variants."""

    effect_axis: Axis | None
    rows: tuple[Row, ...]
    axis: Axis
    warnings: tuple[Warned, ...]
    failures: tuple[Entry, ...]


def tell(account: Account) -> Story:
    """What the account says; equal accounts give equal stories."""
    plan, findings = account.plan, account.findings
    spec = plan.spec
    variants = [arm for arm in plan.arms if arm.against is not None]
    along = _axis_of_differences(account, variants)
    scores_along = _axis_of_scores(account)
    rows = tuple(_row(account, arm, along, scores_along) for arm in variants)
    margin = findings.comparisons[0].margin if findings.comparisons else None
    lines, effect_axis = effects.effects(account, margin)
    noun = "factor" if lines else "combination" if spec.factors else "step" if spec.chain else "change"
    return Story(
        question=spec.question.strip() or _question(account, noun),
        answers=_answers(account, rows, noun, margin),
        noun=noun,
        facts=_facts(account, margin),
        effects=lines,
        effect_axis=effect_axis,
        rows=rows,
        axis=along,
        warnings=_warnings(account),
        failures=tuple(
            entry
            for entry in account.entries.values()
            if entry.outcome in ("diverged", "failed", "stopped_early")
        ),
    )


def _question(account: Account, noun: str) -> str:
    """For a study that states none."""
    variants = [arm.name for arm in account.plan.arms[1:]]
    if len(variants) == 1:
        return f"Does {variants[0]} help?"
    return f"Which of the {words.number(len(variants))} {noun}s of {account.name} help?"


def paired(account: Account, arm: Arm) -> list[tuple[int, float, float]]:
    """Seed, score of what the arm is compared with, score of the arm (percent), over the seeds that count."""
    if arm.against is None:
        return []
    found = []
    for seed in _seeds_that_count(account, arm.name, arm.against):
        old, new = (score(account, account.entries[name, seed]) for name in (arm.against, arm.name))
        if old is not None and new is not None:
            found.append((seed, old, new))
    return found


def score(account: Account, entry: Entry) -> float | None:
    """In percent; none for a run that gave none."""
    value = entry.score(account.plan.spec.metric)
    return None if value is None else 100 * value


def _seeds_that_count(account: Account, arm: str, against: str) -> list[int]:
    """Those up to the arm's last look; of a fixed number of seeds, those that all arms have run."""
    comparison = comparison_of(account, arm)
    if comparison is None:
        return _shared(account, (arm, against))
    planned = next(one.planned for one in comparison.arms if one.name == arm)
    for together in ([one.name for one in account.plan.arms], [one.name for one in comparison.arms]):
        seeds = _shared(account, together)
        if isinstance(account.plan.spec.seeds, int) and len(seeds) >= planned:
            return seeds[:planned]
    return _shared(account, (arm, against))[:planned]


def _shared(account: Account, arms: Sequence[str]) -> list[int]:
    every = sorted({seed for _, seed in account.entries})
    return [seed for seed in every if all((arm, seed) in account.entries for arm in arms)]


def comparison_of(account: Account, arm: str) -> Comparison | None:
    """The comparison in which the arm is a variant."""
    return next((group for group in account.findings.comparisons if arm in group.variants), None)


def _axis_of_differences(account: Account, variants: Sequence[Arm]) -> Axis:
    values = [0.0]
    for group in account.findings.comparisons:
        values += [-group.margin, group.margin]
        for one in group.contrasts:
            values += [one.difference, one.interval.low, one.interval.high]
    for arm in variants:
        values += [new - old for _, old, new in paired(account, arm)]
    return strips.axis(values, difference=True)


def _axis_of_scores(account: Account) -> Axis:
    found = (score(account, entry) for entry in account.entries.values())
    return strips.axis([one for one in found if one is not None], difference=False)


def _row(account: Account, arm: Arm, along: Axis, scores_along: Axis) -> Row:
    findings, against = account.findings, arm.against or ""
    contrast, group = findings.contrast(arm.name), comparison_of(account, arm.name)
    scores = paired(account, arm)
    withheld = {one.arm: one.reason for one in findings.withheld}
    remarks = tuple(str(change) for change in arm.changes) or ("nothing: an identical arm",)
    if arm.levels:
        remarks = ()
    line = Line(
        name=arm.name,
        remarks=remarks,
        figure="",
        bounds="",
        extent=withheld.get(arm.name, "fewer than two seeds finished together with what it is compared with"),
        word=words.NO_VERDICT,
        verdict="no verdict",
        further="",
        strip=None,
    )
    if contrast is not None and group is not None:
        seeds = [new - old for _, old, new in scores]
        early = _awaited(account)
        line = Line(
            name=arm.name,
            remarks=remarks,
            figure=words.signed(contrast.difference, words.digits_for(contrast.interval)),
            bounds=words.bounds(contrast.interval),
            extent=counted(contrast.seeds, "seed"),
            word=words.NOT_YET if early else words.VERDICTS[contrast.verdict],
            verdict=words.AWAITED if early else contrast.verdict,
            further=contrast.words.removeprefix(contrast.verdict).strip(" —"),
            strip=strips.strip(contrast, group.margin, seeds, along),
        )
    return Row(
        arm=arm,
        against=against,
        line=line,
        contrast=contrast,
        margin=group.margin if group else None,
        pairs=strips.pairs(scores, scores_along) if scores else None,
    )


def _answers(account: Account, rows: Sequence[Row], noun: str, margin: float | None) -> tuple[Sentence, ...]:
    if account.findings.factorial is not None and margin is not None:
        return effects.answers(account.findings, margin)
    judged = [
        Judged(row.arm.name, row.line.verdict, row.contrast.difference, row.contrast.interval)
        if row.contrast
        else Judged(row.arm.name, "")
        for row in rows
    ]
    return (answer.answer(judged, noun),)


def _facts(account: Account, margin: float | None) -> tuple[Fact, ...]:
    plan, spec = account.plan, account.plan.spec
    control, entries = plan.control, account.entries.values()
    scored = sum(entry.outcome in ("finished", "stopped_early") for entry in entries)
    lost = len(entries) - scored
    seeds = {"auto": "auto: looks at 5, 8, 12 and 20", "open-ended": "open-ended: a look after every seed"}
    runs = counted(scored, "finished run") + (f", {counted(lost, 'failed one')}" if lost else "")
    variants, compared = len(plan.arms) - 1, "the one before" if spec.chain else "the control"
    reads = [("Test set", words.test_reads(plan.test_reads))] if reproduction.is_final(account) else []
    split = [("Split", "other images validate for each seed")] if spec.images_vary else []
    planned = f"{spec.seeds} for each arm"
    gathered = f"{len(_shared(account, [arm.name for arm in plan.arms]))} that all arms have"
    facts = [
        ("Control", f"{control.recipe.name}, {control.recipe.model.name} on {control.recipe.data.name}"),
        (
            "Compared",
            f"{counted(variants, 'arm')}{', each' * (variants > 1)} with {compared}, seed by seed",
        ),
        ("Seeds", seeds.get(str(spec.seeds), planned if account.path else gathered)),
        ("Runs", runs),
        ("Score", f"{words.metric(spec.metric)}, in percent; differences in points (pp)"),
        *reads,
        *split,
    ]
    if margin is not None:
        origin = (
            "set by the study"
            if spec.margin
            else "3 % of the control's error at the first look, 0.2 at least"
        )
        margins = sorted({round(group.margin, 2) for group in account.findings.comparisons})
        shown = f"{margins[0]:.2f}" if len(margins) == 1 else f"{margins[0]:.2f} to {margins[-1]:.2f}"
        facts.append(("Margin", f"±{shown} pp: smaller differences do not matter ({origin})"))
    return tuple(facts)


def _awaited(account: Account) -> bool:
    """Whether the plan's first look is still to come, so that there are figures but no verdicts."""
    return account.findings.next_look == analysis.first_look(account.plan.spec)


def _warnings(account: Account) -> tuple[Warned, ...]:
    findings = account.findings
    found = _without_verdict(account)
    cautions = findings.all_cautions()
    if findings.next_look is not None and not any(one.code == "unfinished" for one in cautions):
        names = words.listed(list(findings.running))
        text = f"the plan goes on to {findings.next_look} seeds of {names}"
        cautions = (Caution(code="unfinished", text=text), *cautions)
    return (*found, *words.warned(cautions, [arm.name for arm in account.plan.arms]))


def _without_verdict(account: Account) -> list[Warned]:
    """Arms that are held back, apart by what can be done about it."""
    few: list[str] = []
    unfair: list[str] = []
    failed: list[str] = []
    for one in account.findings.withheld:
        against = account.plan.arm(one.arm).against or ""
        together = len(_shared(account, (one.arm, against)))
        kind = unfair if one.reason.startswith(_UNFAIR) else few if together < 2 else failed
        kind.append(f"{one.arm}: {one.reason}.")
    kinds = (
        ("Too few runs for a verdict", few, _MORE_RUNS if account.path else _MORE_SEEDS),
        (
            "Not a fair comparison",
            unfair,
            "Give both arms the same budget, or declare the difference and read the verdict with its price.",
        ),
        (
            "Nothing to compare with",
            failed,
            "Read the reasons in the list of failed runs; a comparison needs a control that trains.",
        ),
    )
    return [Warned(title, tuple(texts), advice) for title, texts, advice in kinds if texts]
