"""What the runs of a study say beyond their scores: gaps, classes, diagnoses, arm beside arm."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toynet.evaluation.findings import Finding
from toynet.reporting.readings import Reading, Readings
from toynet.stats import intervals, sequential
from toynet.studies.design import Arm

Floats = NDArray[np.float64]

MOST_CLASSES = 20
"""Classes that a page shows; of more, those that differ most."""


@dataclass(frozen=True)
class Gap:
    """Training less validation at the end of a run, in percent; means over seeds, and their spread."""

    arm: str
    runs: int
    train: float
    val: float
    gap: float
    spread: float | None
    change: float | None
    """Of the gap, against the arm compared with, seed by seed."""


@dataclass(frozen=True)
class Cell:
    """Difference of one class's recall (pp): mean over seeds; `sure` where its interval excludes zero."""

    value: float | None
    mix: int
    sure: bool


@dataclass(frozen=True)
class Classes:
    """Rows are classes: recall of the control (percent), then a cell for each arm."""

    arms: tuple[str, ...]
    rows: tuple[tuple[str, float | None, tuple[Cell, ...]], ...]
    left_out: int
    sure_possible: bool
    cells: int


@dataclass(frozen=True)
class Diagnosed:
    """One finding and how many of the arm's runs show it; the evidence is the first run's."""

    finding: Finding
    runs: int
    of: int
    seed: int


def gaps(arms: Sequence[Arm], readings: Readings) -> tuple[Gap, ...]:
    """One for each arm with runs that were validated."""
    ends = {arm.name: _ends(readings.of(arm.name)) for arm in arms}
    found = []
    for arm in arms:
        mine = ends[arm.name]
        if not mine:
            continue
        values = np.array(list(mine.values()))
        gap = values[:, 0] - values[:, 1]
        other = ends.get(arm.against or "", {})
        changes = [mine[seed] @ (1, -1) - other[seed] @ (1, -1) for seed in mine if seed in other]
        found.append(
            Gap(
                arm=arm.name,
                runs=len(mine),
                train=float(values[:, 0].mean()),
                val=float(values[:, 1].mean()),
                gap=float(gap.mean()),
                spread=float(gap.std(ddof=1)) if len(gap) > 1 else None,
                change=float(np.mean(changes)) if changes else None,
            )
        )
    return tuple(found)


def _ends(readings: Sequence[Reading]) -> dict[int, Floats]:
    """Training and validation accuracy (percent) of the last validated epoch, by seed."""
    found = {}
    for reading in readings:
        seen = [row for row in reading.records if row.val_accuracy is not None]
        if seen and reading.whole:
            found[reading.seed] = 100 * np.array([seen[-1].train_accuracy, seen[-1].val_accuracy], np.float64)
    return found


def classes(arms: Sequence[Arm], readings: Readings) -> Classes | None:
    """How the recall of each class differs from that of the arm compared with; none without predictions."""
    table = {arm.name: _recalls(readings.of(arm.name)) for arm in arms}
    names = next((one.classes for arm in arms for one in readings.of(arm.name) if one.classes), ())
    variants = [arm for arm in arms if arm.against and _shared(table, arm)]
    if not variants or any(one.classes not in ((), names) for arm in arms for one in readings.of(arm.name)):
        return None
    cells = len(names) * len(variants)
    columns = [_column(table, arm, cells) for arm in variants]
    control = _mean(np.stack(list(table[variants[0].against or ""].values())))
    strength = np.array([[cell.mix for cell in column] for column in columns]).max(0)
    kept = np.sort(np.argsort(-strength, kind="stable")[:MOST_CLASSES])
    rows = [(names[k], _known(100 * control[k]), tuple(column[k] for column in columns)) for k in kept]
    seeds = min(len(_shared(table, arm)) for arm in variants)
    return Classes(
        arms=tuple(arm.name for arm in variants),
        rows=tuple(rows),
        left_out=len(names) - len(kept),
        sure_possible=seeds >= sequential.FEWEST,
        cells=cells,
    )


def _recalls(readings: Sequence[Reading]) -> dict[int, Floats]:
    return {one.seed: one.recall for one in readings if one.recall is not None and one.whole}


def _shared(table: dict[str, dict[int, Floats]], arm: Arm) -> list[int]:
    return [seed for seed in table[arm.name] if seed in table.get(arm.against or "", {})]


def _column(table: dict[str, dict[int, Floats]], arm: Arm, cells: int) -> list[Cell]:
    """Paired over seeds; Bonferroni over all cells of the table."""
    seeds = _shared(table, arm)
    differences = 100 * np.stack([table[arm.name][s] - table[arm.against or ""][s] for s in seeds])
    mean = _mean(differences)
    half = np.full(len(mean), np.inf)
    if len(seeds) >= sequential.FEWEST:
        critical = intervals.pair_critical(cells, len(seeds) - 1, sequential.LEVEL)
        half = critical * differences.std(0, ddof=1) / np.sqrt(len(seeds))
    return [
        Cell(
            value=_known(value),
            mix=0 if np.isnan(value) else round(min(60.0, 6 * abs(float(value)))),
            sure=bool(abs(value) > reach > 0),
        )
        for value, reach in zip(mean, half, strict=True)
    ]


def _known(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)


def _mean(rows: Floats) -> Floats:
    """Over seeds; NaN for a class that no seed has."""
    known = ~np.isnan(rows)
    count = known.sum(0)
    total = np.where(known, rows, 0.0).sum(0)
    found: Floats = np.divide(total, count, out=np.full(rows.shape[1], np.nan), where=count > 0)
    return found


def diagnoses(arm: str, readings: Readings) -> tuple[Diagnosed, ...]:
    """Findings of all the arm's runs by code, the commonest first."""
    mine = readings.of(arm)
    found: dict[str, list[tuple[int, Finding]]] = {}
    for reading in mine:
        for finding in reading.findings:
            found.setdefault(finding.code, []).append((reading.seed, finding))
    rows = [Diagnosed(each[0][1], len(each), len(mine), each[0][0]) for each in found.values()]
    return tuple(sorted(rows, key=lambda row: -row.runs))
