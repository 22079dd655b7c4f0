"""From the runs of a study to what they say: a comparison for each control, and what gets no verdict."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from toynet.core.records import Record
from toynet.stats import comparison, factorial, sequential
from toynet.stats.factorial import Factorial
from toynet.stats.records import Caution, Comparison, Contrast, Plan
from toynet.studies import cautions, costs
from toynet.studies.costs import ArmCost
from toynet.studies.design import Arm, Size, unfair
from toynet.studies.ledger import Entry
from toynet.studies.spec import StudySpec

Entries = Mapping[tuple[str, int], Entry]


class Withheld(Record):
    """An arm that gets no verdict, why, and its scores beside those of what it is compared with."""

    arm: str
    reason: str


class Findings(Record):
    """What is known after some seeds. `seeds`: blocks in which every arm that was wanted has run."""

    comparisons: tuple[Comparison, ...]
    withheld: tuple[Withheld, ...]
    factorial: Factorial | None
    seeds: int
    running: tuple[str, ...]
    """Arms, controls among them, that the plan wants more seeds of."""

    next_look: int | None
    costs: tuple[ArmCost, ...]
    cautions: tuple[Caution, ...]
    """Of the design and the runs; those of the scores are in `comparisons`."""

    def contrast(self, arm: str) -> Contrast | None:
        """The arm beside what it is compared with; none for a control and an arm without a verdict."""
        found = (one for group in self.comparisons for one in group.contrasts if one.variant == arm)
        return next(found, None)

    def all_cautions(self) -> tuple[Caution, ...]:
        """Those of the design and the runs, then those of the scores."""
        return (*self.cautions, *(one for group in self.comparisons for one in group.cautions))


def analyse(
    spec: StudySpec, arms: Sequence[Arm], sizes: Mapping[str, Size], entries: Entries, *, classes: int
) -> Findings:
    """Judge all arms by the runs in `entries`."""
    spent = costs.costs(arms, sizes, entries)
    withheld = [one for arm in arms if (one := _withhold(spec, arm, sizes, entries))]
    out = {one.arm for one in withheld}
    groups: dict[str, list[str]] = {}
    for arm in arms:
        if arm.against is not None and arm.name not in out:
            groups.setdefault(arm.against, []).append(arm.name)
    found = tuple(_compare(spec, control, variants, entries, classes) for control, variants in groups.items())
    looks = [group.next_look for group in found if group.next_look is not None]
    running = {
        name for group in found if group.next_look is not None for name in (group.control, *group.running)
    }
    return Findings(
        comparisons=found,
        withheld=tuple(withheld),
        factorial=_effects(spec, arms, entries) if spec.factors else None,
        seeds=_complete(arms, entries, spec.first_seed),
        running=tuple(arm.name for arm in arms if arm.name in running),
        next_look=min(looks, default=None),
        costs=spent,
        cautions=cautions.cautions(spec, arms, sizes, spent, entries),
    )


def plan_of(spec: StudySpec) -> Plan:
    """How the statistics call it."""
    if isinstance(spec.seeds, int):
        return "fixed"
    return "auto" if spec.seeds == "auto" else "open"


def first_look(spec: StudySpec) -> int:
    """The seeds that every arm gets."""
    return spec.seeds if isinstance(spec.seeds, int) else sequential.FEWEST


def scores(spec: StudySpec, arm: str, entries: Entries) -> list[float | None]:
    """The arm's scores in percent by seed, none for a run that gave none, as far as it has run."""
    found: list[float | None] = []
    while (entry := entries.get((arm, spec.first_seed + len(found)))) is not None:
        value = getattr(entry, spec.metric)
        found.append(None if value is None else 100 * value)
    return found


def _withhold(spec: StudySpec, arm: Arm, sizes: Mapping[str, Size], entries: Entries) -> Withheld | None:
    """Why an arm gets no verdict: it costs more or less than what it is compared with, or was cut short."""
    if arm.against is None:
        return None
    differ = unfair(sizes[arm.against], sizes[arm.name])
    undeclared = {key: values for key, values in differ.items() if key not in spec.unequal}
    if undeclared:
        told = ", ".join(f"{key} {old:,} and {new:,}" for key, (old, new) in undeclared.items())
        declared = ", ".join(f'"{key}"' for key in (*spec.unequal, *undeclared))
        return Withheld(
            arm=arm.name, reason=f"unequal budgets: {told}; to compare nevertheless, unequal = [{declared}]"
        )
    cut = sorted(
        {e.arm for e in entries.values() if e.arm in (arm.name, arm.against) and e.outcome == "stopped_early"}
    )
    if cut and "epochs" not in spec.unequal:
        return Withheld(
            arm=arm.name, reason=f"runs of {' and '.join(cut)} stopped early; take early_stop off"
        )
    return None


def _compare(
    spec: StudySpec, control: str, variants: Sequence[str], entries: Entries, classes: int
) -> Comparison:
    rows = {name: scores(spec, name, entries) for name in (control, *variants)}
    length, plan = len(rows[control]), plan_of(spec)
    rows = {name: row[:length] for name, row in rows.items()}
    if plan == "fixed":
        length = min(len(row) for row in rows.values())
        rows = {name: row[:length] for name, row in rows.items()}
    return comparison.compare(
        rows,
        control=control,
        plan=plan,
        margin=spec.margin,
        correct={name: _correctness(spec, name, len(row), entries) for name, row in rows.items()}
        if spec.metric == "val_accuracy"
        else None,
        chance=100 / classes,
    )


def _correctness(spec: StudySpec, arm: str, seeds: int, entries: Entries) -> NDArray[np.bool_]:
    """(seeds, images), nothing right where a run gave no score."""
    images = max(entry.images for entry in entries.values())
    found = [entries[arm, spec.first_seed + place] for place in range(seeds)]
    return np.stack([one.correctness() if one.images else np.zeros(images, bool) for one in found])


def _complete(arms: Sequence[Arm], entries: Entries, first_seed: int) -> int:
    """Blocks of the control, which every look is taken on."""
    count = 0
    while (arms[0].name, first_seed + count) in entries:
        count += 1
    return count


def _effects(spec: StudySpec, arms: Sequence[Arm], entries: Entries) -> Factorial | None:
    """Main effects and interactions, over the blocks in which every cell has a score."""
    blocks = [
        seed
        for seed in sorted({seed for _, seed in entries})
        if all((entry := entries.get((arm.name, seed))) and entry.val_accuracy is not None for arm in arms)
    ]
    if len(blocks) < 2:
        return None
    values = [100 * getattr(entries[arm.name, seed], spec.metric) for seed in blocks for arm in arms]
    switches = {
        key: np.tile([bool(arm.levels[place]) for arm in arms], len(blocks))
        for place, key in enumerate(spec.factors)
    }
    return factorial.analyse(values, switches, seeds=np.repeat(blocks, len(arms)))
