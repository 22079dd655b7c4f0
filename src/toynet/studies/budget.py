"""The longest that a study may take: checked before its first run and before each look that asks for more."""

import statistics
from collections.abc import Mapping, Sequence

from toynet.core.errors import UsageError
from toynet.core.wording import duration
from toynet.studies.ledger import Entry
from toynet.studies.outlook import Outlook
from toynet.studies.spec import StudySpec


def check(spec: StudySpec, ahead: Outlook) -> None:
    """Raise `UsageError` where already the first look is expected to take longer than the budget."""
    if ahead.least_s > spec.budget_s:
        raise UsageError(
            f"study {spec.name}: the runs up to the first look take about {duration(ahead.least_s)}, its "
            f"budget is {spec.budget}; plan fewer seeds or arms, shorter runs, or a larger budget"
        )


def allows(
    spec: StudySpec,
    entries: Mapping[tuple[str, int], Entry],
    coming: Sequence[tuple[str, int]],
    jobs: int,
) -> bool:
    """Whether the runs `coming`, (arm, seed), fit into what is left, by what runs of their arms have taken.

    coming: those that are done already cost nothing more. The time spent is that of all runs, side by side.
    """
    taken: dict[str, list[float]] = {}
    for entry in entries.values():
        taken.setdefault(entry.arm, []).append(entry.whole_s)
    spent_s = sum(sum(times) for times in taken.values())
    needed_s = sum(statistics.median(taken[arm]) for arm, seed in coming if (arm, seed) not in entries)
    return (spent_s + needed_s) / jobs <= spec.budget_s
