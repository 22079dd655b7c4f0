"""The answer of a study in one sentence, from its verdicts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from toynet.reporting.words import AWAITED, bounds, digits_for, number, signed
from toynet.stats.records import Interval

_MOST_NAMED = 4


@dataclass(frozen=True)
class Piece:
    """A stretch of a sentence; names are set apart."""

    text: str
    name: bool = False


@dataclass(frozen=True)
class Judged:
    """A change or a factor with what was found of it; `verdict` is empty where none may be given."""

    name: str
    verdict: str
    difference: float | None = None
    interval: Interval | None = None
    twins: str = ""
    """What these runs cannot tell it from."""

    def figure(self) -> str:
        """`+0.41 pp [+0.12, +0.70]`, and what else may be the cause."""
        if self.difference is None or self.interval is None:
            return ""
        size = f"{signed(self.difference, digits_for(self.interval))} pp {bounds(self.interval)}"
        return f"{size}, or it is {self.twins}" if self.twins else size


Sentence = tuple[Piece, ...]

_KINDS: tuple[tuple[tuple[str, ...], Callable[[bool], str]], ...] = (
    (("helps",), lambda one: "helps" if one else "help"),
    (("hurts",), lambda one: "hurts" if one else "hurt"),
    (
        ("helps (size uncertain)",),
        lambda one: f"{'helps' if one else 'help'}, by how much being uncertain",
    ),
    (
        ("hurts (size uncertain)",),
        lambda one: f"{'hurts' if one else 'hurt'}, by how much being uncertain",
    ),
    (
        ("real but too small to matter", "no meaningful difference"),
        lambda one: f"{'makes' if one else 'make'} no difference that matters",
    ),
)


def answer(judged: Sequence[Judged], noun: str) -> Sentence:
    """One sentence; noun: what they are, `change`, `step` or `factor`."""
    total = len(judged)
    clauses: list[list[Piece]] = []
    for verdicts, verb in _KINDS:
        found = _by_size([one for one in judged if one.verdict in verdicts])
        if found:
            clauses.append(_clause(found, total, noun, verb, first=not clauses))
    early = [one for one in judged if one.verdict == AWAITED]
    described = [one for one in judged if one.verdict == "description only"]
    open_ones = _by_size([one for one in judged if one.verdict == "undecided"])
    without = [one for one in judged if not one.verdict]
    if early:
        opening = "before the study has ended there is no verdict, only a description of"
        clauses.append([Piece(f"{opening} "), *_names(early, figures=True)])
    if described:
        opening = "with fewer than five seeds, or without spread, there is no verdict, only a description of"
        clauses.append([Piece(f"{opening} "), *_names(described, figures=True)])
    if open_ones:
        every = f"any of the {number(total)} {noun}s: " if total == len(open_ones) > 1 else ""
        clauses.append([Piece(f"nothing can be said yet about {every}"), *_names(open_ones, figures=True)])
    if without:
        clauses.append([Piece("there is no verdict on "), *_names(without, figures=False)])
    return _joined(clauses)


def _by_size(found: list[Judged]) -> list[Judged]:
    return sorted(found, key=lambda one: -abs(one.difference or 0.0))


def _clause(
    found: list[Judged], total: int, noun: str, verb: Callable[[bool], str], *, first: bool
) -> list[Piece]:
    """`two of four changes help: a (...) and b (...)`, or shorter where there is but one."""
    if len(found) == 1 and (total == 1 or not first):
        figure = found[0].figure()
        return [Piece(found[0].name, name=True), Piece(f" {verb(True)}{f' ({figure})' if figure else ''}")]
    among = f" of {number(total)} {noun}s" if first else ""
    opening = f"{number(len(found))}{among} {verb(len(found) == 1)}: "
    return [Piece(opening), *_names(found, figures=True)]


def _names(found: list[Judged], *, figures: bool) -> list[Piece]:
    shown, more = found[:_MOST_NAMED], len(found) - _MOST_NAMED
    if more == 1:
        shown, more = found, 0
    pieces: list[Piece] = []
    for place, one in enumerate(shown):
        if place:
            pieces.append(Piece(" and " if place == len(shown) - 1 and more <= 0 else ", "))
        pieces.append(Piece(one.name, name=True))
        if figures and one.figure():
            pieces.append(Piece(f" ({one.figure()})"))
    if more > 0:
        pieces.append(Piece(f" and {number(more)} more"))
    return pieces


def _joined(clauses: list[list[Piece]]) -> Sentence:
    pieces: list[Piece] = []
    for place, clause in enumerate(clauses):
        pieces += ([Piece("; ")] if place else []) + clause
    if pieces and not pieces[0].name:
        text = pieces[0].text
        pieces[0] = Piece(f"{text[:1].upper()}{text[1:]}")
    return (*pieces, Piece("."))


def interactions(found: Sequence[Judged]) -> Sentence:
    """What factors do to one another: those that are certain, or that none is."""
    if not found:
        return ()
    more = _by_size([one for one in found if one.verdict.startswith("helps")])
    less = _by_size([one for one in found if one.verdict.startswith("hurts")])
    clauses = [
        [Piece(f"together these do {how} than their effects add up to: "), *_names(ones, figures=True)]
        for ones, how in ((more, "more"), (less, "less"))
        if ones
    ]
    return _joined(clauses or [[Piece("no two factors are seen to depend on each other")]])
