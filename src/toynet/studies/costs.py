"""What the runs of each arm cost, as it was measured."""

import statistics
from collections.abc import Mapping, Sequence

from toynet.core.records import Record
from toynet.studies.design import Arm, Size
from toynet.studies.ledger import Entry

TIMEABLE_S = 10.0
"""A run of less than this is mostly starting up."""


class ArmCost(Record):
    """One arm's runs. Medians over its finished runs, none where there is none."""

    arm: str
    runs: int
    """Finished ones."""

    run_s: float | None
    """Seconds of one run, from its start to its sealed result."""

    images_per_s: float | None
    """Training images a second, validation left out."""

    total_s: float
    """Of all runs together, failed ones included."""

    train_flops: float
    """Floating-point operations of one run's training: 2 for a multiply-add, backward twice forward."""


def costs(
    arms: Sequence[Arm], sizes: Mapping[str, Size], entries: Mapping[tuple[str, int], Entry]
) -> tuple[ArmCost, ...]:
    """One for each arm, in order."""
    return tuple(_cost(arm.name, sizes[arm.name], entries) for arm in arms)


def _cost(arm: str, size: Size, entries: Mapping[tuple[str, int], Entry]) -> ArmCost:
    mine = [entry for (name, _), entry in entries.items() if name == arm]
    whole = [entry for entry in mine if entry.outcome in ("finished", "stopped_early")]
    return ArmCost(
        arm=arm,
        runs=len(whole),
        run_s=statistics.median(entry.whole_s for entry in whole) if whole else None,
        images_per_s=statistics.median(entry.images_per_s for entry in whole) if whole else None,
        total_s=sum(entry.whole_s for entry in mine),
        train_flops=6.0 * size.macs * size.samples,
    )


def time_ratio(arm: str, against: str, entries: Mapping[tuple[str, int], Entry]) -> tuple[float, bool] | None:
    """How many times as long a run of `arm` takes, median over pairs of one seed; whether all pairs agree
    on which of the two is slower. None without pairs of runs that are long enough to be timed.
    """
    times = [
        _times(entry, other)
        for (name, seed), entry in entries.items()
        if name == arm
        and (other := entries.get((against, seed)))
        and entry.outcome == other.outcome == "finished"
    ]
    pairs = [mine / theirs for mine, theirs in times if min(mine, theirs) >= TIMEABLE_S]
    if not pairs:
        return None
    return statistics.median(pairs), min(pairs) > 1 or max(pairs) < 1


def _times(one: Entry, other: Entry) -> tuple[float, float]:
    """Of the processor where both are known, else of the clock, which other work lengthens too."""
    if one.cpu_s is None or other.cpu_s is None:
        return one.train_s, other.train_s
    return one.cpu_s, other.cpu_s
