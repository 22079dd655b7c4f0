"""From a study's account to what its page says, in the order in which it says it. Numbers, no markup."""

from collections.abc import Sequence
from dataclasses import dataclass

from toynet.report import answer, strips, words
from toynet.report.answer import Judged, Sentence
from toynet.report.strips import Axis, Pairs, Strip
from toynet.report.words import Warned, Word
from toynet.stats import sequential, verdicts
from toynet.stats.factorial import Effect
from toynet.stats.records import Comparison, Contrast
from toynet.studies import analysis
from toynet.studies.design import Arm
from toynet.studies.folder import Account
from toynet.studies.ledger import Entry
from toynet.studies.spec import StudySpec

Fact = tuple[str, str]


@dataclass(frozen=True)
class Line:
    """One effect beside its interval: of an arm, or of a factor."""

    name: str
    remarks: tuple[str, ...]
    figure: str
    bounds: str
    extent: str
    """How many seeds, and what else belongs below the figure."""

    word: Word
    verdict: str
    further: str
    """What it would take to reach a verdict; empty where nothing is said of that."""

    strip: Strip | None


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
    unfinished: str
    """What the plan still wants; empty at its end."""


def tell(account: Account) -> Story:
    """What the account says; equal accounts give equal stories."""
    plan, findings = account.plan, account.findings
    spec = plan.spec
    variants = [arm for arm in plan.arms if arm.against is not None]
    along = _axis_of_differences(account, variants)
    scores_along = _axis_of_scores(account)
    rows = tuple(_row(account, arm, along, scores_along) for arm in variants)
    margin = findings.comparisons[0].margin if findings.comparisons else None
    effects, effect_axis = _effects(account, margin)
    noun = "factor" if effects else "combination" if spec.factors else "step" if spec.chain else "change"
    unfinished = _unfinished(account)
    return Story(
        question=spec.question.strip() or f"What do the {words.number(len(variants))} {noun}s of {account.name} do?",
        answers=_answers(account, rows, noun, margin),
        noun=noun,
        facts=_facts(account, margin),
        effects=effects,
        effect_axis=effect_axis,
        rows=rows,
        axis=along,
        warnings=_warnings(account, unfinished),
        failures=tuple(
            entry for entry in account.entries.values() if entry.outcome in ("diverged", "failed", "stopped_early")
        ),
        unfinished=unfinished,
    )


def paired(account: Account, arm: Arm) -> list[tuple[int, float, float]]:
    """Seed, score of what the arm is compared with, score of the arm (percent), over the seeds that count."""
    comparison = comparison_of(account, arm.name)
    if arm.against is None:
        return []
    planned = None
    if comparison is not None:
        planned = next(one.planned for one in comparison.arms if one.name == arm.name)
    spec, entries = account.plan.spec, account.entries
    before, after = (analysis.scores(spec, name, entries)[:planned] for name in (arm.against, arm.name))
    both = zip(before, after, strict=False)
    return [
        (spec.first_seed + place, old, new)
        for place, (old, new) in enumerate(both)
        if old is not None and new is not None
    ]


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
    spec = account.plan.spec
    found = [analysis.scores(spec, arm.name, account.entries) for arm in account.plan.arms]
    return strips.axis([score for row in found for score in row if score is not None], difference=False)


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
        line = Line(
            name=arm.name,
            remarks=remarks,
            figure=words.signed(contrast.difference, words.digits_for(contrast.interval)),
            bounds=words.bounds(contrast.interval),
            extent=words.counted(contrast.seeds, "seed"),
            word=words.VERDICTS[contrast.verdict],
            verdict=contrast.verdict,
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


def _effects(account: Account, margin: float | None) -> tuple[tuple[Line, ...], Axis | None]:
    found, spec = account.findings.factorial, account.plan.spec
    if found is None or margin is None:
        return (), None
    bounds = [bound for one in found.effects for bound in (one.interval.low, one.interval.high)]
    along = strips.axis([0.0, -margin, margin, *bounds], difference=True)
    lines = [_effect(one, spec, margin, account.findings.seeds, along) for one in found.effects]
    return tuple(lines), along


def _effect(one: Effect, spec: StudySpec, margin: float, seeds: int, along: Axis) -> Line:
    verdict = effect_verdict(one, margin, seeds)
    remarks = []
    if one.name in spec.factors:
        old, new = spec.factors[one.name]
        remarks.append(f"{words.setting(old)} -> {words.setting(new)}, averaged over the other factors")
    else:
        remarks.append("how much the one changes the other's effect, halved")
    if one.aliases:
        remarks.append(f"cannot be told from {words.listed(list(one.aliases))}: the figure is their sum")
    span = strips.span(one.interval, along)
    band = strips.Span(along.at(-margin), along.at(margin))
    return Line(
        name=one.name.replace(" x ", " × "),
        remarks=tuple(remarks),
        figure=words.signed(one.effect, words.digits_for(one.interval)),
        bounds=words.bounds(one.interval),
        extent=f"Holm's p {one.p:.2g}",
        word=words.VERDICTS[verdict],
        verdict=verdict,
        further="",
        strip=Strip(along.at(0.0), band, span, None, along.at(one.effect), (), along),
    )


def effect_verdict(one: Effect, margin: float, seeds: int) -> str:
    """The same words as for a variant, from the effect's interval."""
    return "description only" if seeds < sequential.FEWEST else verdicts.verdict(one.interval, margin)


def _answers(account: Account, rows: Sequence[Row], noun: str, margin: float | None) -> tuple[Sentence, ...]:
    found = account.findings.factorial
    if found is not None and margin is not None:
        judged = [
            Judged(
                one.name.replace(" x ", " × "),
                effect_verdict(one, margin, account.findings.seeds),
                one.effect,
                one.interval,
            )
            for one in found.effects
        ]
        main = [one for one in judged if " × " not in one.name]
        both = [one for one in judged if " × " in one.name]
        second = answer.interactions(both)
        return (answer.answer(main, noun), *((second,) if second else ()))
    judged = [
        Judged(row.arm.name, row.contrast.verdict, row.contrast.difference, row.contrast.interval)
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
    runs = words.counted(scored, "finished run") + (f", {words.counted(lost, 'failed one')}" if lost else "")
    compared = "the one before" if spec.chain else "the control"
    facts = [
        ("Control", f"{control.recipe.name}, {control.recipe.model.name} on {control.recipe.data.name}"),
        ("Compared", f"{words.counted(len(plan.arms) - 1, 'arm')}, each with {compared}, seed by seed"),
        ("Seeds", seeds.get(str(spec.seeds), f"{spec.seeds} for each arm")),
        ("Runs", runs),
        ("Score", f"{words.metric(spec.metric)}, in percent; differences in points (pp)"),
    ]
    if margin is not None:
        origin = "set by the study" if spec.margin else "3 % of the control's error at the first look, 0.2 at least"
        margins = sorted({round(group.margin, 2) for group in account.findings.comparisons})
        shown = f"{margins[0]:.2f}" if len(margins) == 1 else f"{margins[0]:.2f} to {margins[-1]:.2f}"
        facts.append(("Margin", f"±{shown} pp: smaller differences do not matter ({origin})"))
    return tuple(facts)


def _unfinished(account: Account) -> str:
    findings = account.findings
    if findings.next_look is None:
        return ""
    names = words.listed([arm for arm in findings.running])
    return f"The plan goes on to {findings.next_look} seeds of {names}"


def _warnings(account: Account, unfinished: str) -> tuple[Warned, ...]:
    found = [
        Warned(
            f"No verdict on {one.arm}",
            f"{one.reason[:1].upper()}{one.reason[1:]}.",
            "Give both arms the same budget, or declare the difference and read the verdict with its price.",
        )
        for one in account.findings.withheld
    ]
    if unfinished:
        advice = "Go on with toynet study --resume; verdicts so far hold, undecided arms may still change."
        found.append(Warned("The study has not ended", f"{unfinished}.", advice))
    if account.findings.factorial is not None and not isinstance(account.plan.spec.seeds, int):
        found.append(
            Warned(
                "Effects are not corrected for looks",
                "The study looks at its cells several times, and the effects' intervals hold for a single look.",
                "For a claim about a factor, run the study with a fixed number of seeds.",
            )
        )
    arms = [arm.name for arm in account.plan.arms]
    return (*found, *(words.warned(caution, arms) for caution in account.findings.all_cautions()))
