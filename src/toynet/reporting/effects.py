"""What the factors of a study do: a line for each effect, and sentences."""

from dataclasses import dataclass

from toynet.core.wording import setting
from toynet.reporting import answer, strips, words
from toynet.reporting.answer import Judged, Sentence
from toynet.reporting.strips import Axis, Strip
from toynet.reporting.words import Word
from toynet.stats.factorial import Effect
from toynet.studies import factors
from toynet.studies.analysis import Findings
from toynet.studies.folder import Account
from toynet.studies.spec import StudySpec


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


def effects(account: Account, margin: float | None) -> tuple[tuple[Line, ...], Axis | None]:
    found, spec = account.findings.factorial, account.plan.spec
    if found is None or margin is None:
        return (), None
    bounds = [bound for one in found.effects for bound in (one.interval.low, one.interval.high)]
    along = strips.axis([0.0, -margin, margin, *bounds], difference=True)
    lines = [
        _effect(one, spec, _verdict(one, account.findings, margin), margin, along) for one in found.effects
    ]
    return tuple(lines), along


def _effect(one: Effect, spec: StudySpec, verdict: str, margin: float, along: Axis) -> Line:
    remarks = []
    alone = one.name in spec.factors
    if alone:
        old, new = spec.factors[one.name]
        remarks.append(f"{setting(old)} -> {setting(new)}")
    if one.aliases:
        remarks.append(f"or {_aliases(one)}: these runs show their sum")
    span = strips.span(one.interval, along)
    band = strips.Span(along.at(-margin), along.at(margin))
    return Line(
        name=_name(one),
        remarks=tuple(remarks),
        figure=words.signed(one.effect, words.digits_for(one.interval)),
        bounds=words.bounds(one.interval),
        extent=f"Holm's p {one.p:.2g}",
        word=words.VERDICTS[verdict] if alone else words.INTERACTIONS[verdict],
        verdict=verdict if alone else words.INTERACTIONS[verdict].meaning,
        further="",
        strip=Strip(along.at(0.0), band, span, None, along.at(one.effect), (), along),
    )


def _aliases(one: Effect) -> str:
    return words.listed([alias.replace(" x ", " × ") for alias in one.aliases])


def _verdict(one: Effect, findings: Findings, margin: float) -> str:
    return "undecided" if one.name in findings.capped else factors.verdict(one, margin, findings.seeds)


def answers(findings: Findings, margin: float) -> tuple[Sentence, ...]:
    """What the factors do alone, and, where two together can be told, what they do to each other."""
    found = findings.factorial.effects if findings.factorial else ()
    judged = [
        Judged(_name(one), _verdict(one, findings, margin), one.effect, one.interval, _aliases(one))
        for one in found
    ]
    main = [row for one, row in zip(found, judged, strict=True) if " x " not in one.name]
    both = [row for one, row in zip(found, judged, strict=True) if " x " in one.name]
    second = answer.interactions(both)
    return (answer.answer(main, "factor"), *((second,) if second else ()))


def _name(one: Effect) -> str:
    return one.name.replace(" x ", " × ")
