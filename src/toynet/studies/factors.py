"""What the factors of a study do, and whether what is said of them survives the runs that failed."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from toynet.stats import factorial, sequential, verdicts
from toynet.stats.factorial import Effect, Factorial
from toynet.stats.records import Verdict
from toynet.studies.ledger import Entry
from toynet.studies.plan import Plan

Rows = Mapping[int, Sequence[float | None]]
"""Scores in percent of all cells, by seed."""


class Effects(NamedTuple):
    """Main effects and interactions; capped: those whose verdict failures took away."""

    factorial: Factorial | None
    capped: tuple[str, ...]


def effects(plan: Plan, entries: Mapping[tuple[str, int], Entry], margin: float) -> Effects:
    """Over the blocks in which every cell has a score; none below two of them.

    Where a run failed, a verdict stands if it is the same with failed runs scored as guessing.
    """
    made: dict[int, list[float | None]] = {}
    for seed in sorted({seed for _, seed in entries}):
        cells = [entries.get((arm.name, seed)) for arm in plan.arms]
        scores = [cell.score(plan.spec.metric) for cell in cells if cell is not None]
        if len(scores) == len(plan.arms):
            made[seed] = [None if score is None else 100 * score for score in scores]
    whole = {seed: row for seed, row in made.items() if None not in row}
    if len(whole) < 2:
        return Effects(None, ())
    found = _analyse(plan, whole)
    if len(whole) == len(made):
        return Effects(found, ())
    guessing = 100 / plan.classes
    filled = _analyse(plan, {seed: [guessing if s is None else s for s in row] for seed, row in made.items()})
    capped = [
        one.name
        for one in found.effects
        if (word := verdict(one, margin, found.blocks)) not in ("undecided", "description only")
        and verdict(filled[one.name], margin, filled.blocks) != word
    ]
    return Effects(found, tuple(capped))


def verdict(one: Effect, margin: float, blocks: int) -> Verdict:
    """The same words as for a variant, from the effect's interval. blocks: seeds that the effects rest on."""
    described = blocks < sequential.FEWEST or one.error == 0
    return "description only" if described else verdicts.verdict(one.interval, margin)


def _analyse(plan: Plan, rows: Rows) -> Factorial:
    switches = {
        key: np.tile([bool(arm.levels[place]) for arm in plan.arms], len(rows))
        for place, key in enumerate(plan.spec.factors)
    }
    values = np.array([value for row in rows.values() for value in row], np.float64)
    return factorial.analyse(values, switches, seeds=np.repeat(list(rows), len(plan.arms)))
