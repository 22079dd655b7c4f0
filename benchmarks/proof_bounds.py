"""What must hold of the invented studies, and everything counted and held against it.

proof_stats.py runs it and writes it down; tests/stats/test_proof.py runs it in a short form.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from invented_studies import (
    CHAIN,
    Cell,
    ChainCounts,
    Counts,
    ImageCounts,
    cells,
    count,
    count_chain,
    count_images,
    harder_cells,
)

from toynet.core.records import Record


class Check(Record):
    """One bound on a share of `studies`."""

    what: str
    studies: int
    measured: float
    low: float
    high: float

    def misses(self) -> float:
        """By how many standard errors the share lies outside; 0 within."""
        nearest = min(max(self.measured, self.low), self.high)
        # That of a share near 0 or 1 is taken at one study in `studies`, for it would be no error at all.
        share = min(max(nearest, 1 / self.studies), 1 - 1 / self.studies)
        return float(abs(self.measured - nearest) / np.sqrt(share * (1 - share) / self.studies))

    @property
    def holds(self) -> bool:
        return self.low <= self.measured <= self.high


def checks(found: list[Counts], chains: list[ChainCounts], images: list[ImageCounts]) -> Iterator[Check]:
    """The bounds of issue 4; where it has none, or none that can be met, ours.

    Coverage under `auto` has no upper bound where an effect is planted: an arm that stops early has an
    interval of that look's level, 98.4 %. Spreads that differ twofold may make 7 % false positives of 5.
    """
    for chain in chains:
        yield Check(
            what=f"false positives, {chain.plan}, chain of {CHAIN}",
            studies=chain.studies,
            measured=chain.false_positives,
            low=0.04,
            high=0.06,
        )
    for counts in found:
        name, cell, any_null = title(counts.cell), counts.cell, counts.false_positives
        if cell.plan == "open":
            yield Check(
                studies=counts.studies, what=f"false positives, {name}", measured=any_null, low=0, high=0.05
            )
            yield Check(
                studies=counts.studies, what=f"coverage, {name}", measured=counts.coverage, low=0.94, high=1
            )
        elif cell.spreads:
            yield Check(
                studies=counts.studies, what=f"false positives, {name}", measured=any_null, low=0, high=0.07
            )
        else:
            if not cell.effect:
                yield Check(
                    studies=counts.studies,
                    what=f"false positives, {name}",
                    measured=any_null,
                    low=0.04,
                    high=0.06,
                )
            highest = 1 if cell.effect and cell.plan == "auto" else 0.96
            yield Check(
                studies=counts.studies,
                what=f"coverage, {name}",
                measured=counts.coverage,
                low=0.94,
                high=highest,
            )
        if counts.promised is not None:
            low = counts.promised - 0.03
            high = (
                1 if cell.plan == "open" else counts.promised + 0.03
            )  # which is promised "at least" so much
            yield Check(
                studies=counts.studies,
                what=f"planted found, {name}",
                measured=counts.found,
                low=low,
                high=high,
            )
            yield Check(
                studies=counts.studies,
                what=f"wrong sign, {name}",
                measured=counts.wrong_sign,
                low=0,
                high=0.005,
            )
    for one in images:
        name = f"real spread {one.real_spread:g}"
        yield Check(
            studies=one.studies,
            what=f"coverage on this test set, {name}",
            measured=one.this_test_set,
            low=0.94,
            high=1,
        )
        yield Check(
            studies=one.studies,
            what=f"coverage on new images, {name}",
            measured=one.new_images,
            low=0.94,
            high=1,
        )


def title(cell: Cell) -> str:
    parts = [f"{cell.plan}, K {cell.variants}, rho {cell.rho:g}"]
    parts += [f"+{cell.effect:g} pp"] if cell.effect else []
    parts += [f"spreads {'/'.join(f'{s:g}' for s in cell.spreads)}"] if cell.spreads else []
    return ", ".join(parts)


class Proof(NamedTuple):
    """Everything that was counted, and the bounds on it."""

    counts: list[Counts]
    chains: list[ChainCounts]
    images: list[ImageCounts]
    checks: list[Check]


def prove(null_studies: int, studies: int, tell: Callable[[str], None] = lambda line: None) -> Proof:
    """Everything, with so many studies in a cell where nothing differs and in every other."""
    found = []
    for cell in (*cells(), *harder_cells()):
        standard = not cell.effect and not cell.spreads and cell.plan != "open"
        found.append(count(cell, null_studies if standard else studies))
        tell(title(cell))
    chains = [count_chain(studies, plan) for plan in ("fixed", "auto")]
    images = [count_images(studies, real_spread=real) for real in (0.0, 0.05, 0.1)]
    return Proof(found, chains, images, list(checks(found, chains, images)))
