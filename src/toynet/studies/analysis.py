"""From the runs of a study to what they say: a comparison for each control, and what gets no verdict."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import takewhile
from math import log

import numpy as np
from numpy.typing import NDArray

from toynet.core.records import Record
from toynet.stats import comparison, records, sequential
from toynet.stats.factorial import Factorial
from toynet.stats.records import Caution, Comparison, Contrast
from toynet.studies import cautions, costs, factors
from toynet.studies.costs import ArmCost
from toynet.studies.design import Arm, unfair
from toynet.studies.ledger import Entry, pack
from toynet.studies.plan import Plan
from toynet.studies.spec import StudySpec

_LONGER = log(1.25)
"""Time that differs by more, in the same direction in every block, is a budget of its own. Measured times of
side-by-side runs are too rough for less; the declared costs stand for that."""

Entries = Mapping[tuple[str, int], Entry]


class Withheld(Record):
    """An arm that gets no verdict, and why."""

    arm: str
    reason: str


class Findings(Record):
    """What is known after some seeds. `seeds`: those that the control has run; of factorial studies, those
    in which every cell has a score."""

    comparisons: tuple[Comparison, ...]
    withheld: tuple[Withheld, ...]
    unseen: Comparison | None
    """Final claims: the same comparison without test images that are in train too. None where there are no
    such images, or where all are."""

    factorial: Factorial | None
    capped: tuple[str, ...]
    """Effects of factors that have no verdict, since none is known to survive scoring failures as chance."""

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
    plan: Plan,
    entries: Entries,
    *,
    earlier: Sequence[Plan] = (),
    repeated: Collection[tuple[str, int]] = (),
) -> Findings:
    """Judge all arms by the runs in `entries`.

    earlier: what was planned before seeds were added; repeated: runs that had failed and were made again.
    """
    spec, arms = plan.spec, plan.arms
    withheld = [one for arm in arms if (one := _withhold(plan, arm, entries))]
    found = tuple(_compare(plan, control, names, entries) for control, names in _groups(plan, withheld))
    cut = [one for group in found for one in _cut_short(plan, group, entries)]
    found = tuple(_without_verdicts(group, cut) for group in found)
    looks = [group.next_look for group in found if group.next_look is not None]
    running = {
        name for group in found if group.next_look is not None for name in (group.control, *group.running)
    }
    if short := _short(plan, entries):
        found = tuple(map(_not_yet, found))
        looks, running = [first_look(spec)], running | set(short)
    unseen = _compare_unseen(plan, found, entries) if plan.seen else None
    if unseen and short:
        unseen = _not_yet(unseen)
    effects, capped = factors.Effects(None, ())
    if spec.factors and found and not (short or withheld or cut):
        effects, capped = factors.effects(plan, entries, found[0].margin)
    return Findings(
        comparisons=found,
        withheld=(*withheld, *cut),
        unseen=unseen,
        factorial=effects,
        capped=capped,
        seeds=effects.blocks if effects else len(_seeds(plan.control.name, entries)),
        running=tuple(arm.name for arm in arms if arm.name in running),
        next_look=min(looks, default=None),
        costs=costs.costs(arms, plan.sizes, entries),
        cautions=(
            *cautions.seen(plan, found, unseen),
            *cautions.cautions(plan, entries, earlier, repeated=repeated, capped=capped),
        ),
    )


def _short(plan: Plan, entries: Entries) -> list[str]:
    """Arms that have yet to make the runs of the first look: nothing is judged before that."""
    wanted = first_look(plan.spec)
    return [arm.name for arm in plan.arms if len(_seeds(arm.name, entries)) < wanted]


def _not_yet(comparison: Comparison) -> Comparison:
    """Figures as they are, without the words: judging them before their time makes false alarms."""
    verdict = {"verdict": "description only", "words": "description only", "further_seeds": None}
    contrasts = tuple(one.model_copy(update=verdict) for one in comparison.contrasts)
    return comparison.model_copy(update={"contrasts": contrasts})


def _groups(plan: Plan, withheld: Sequence[Withheld]) -> list[tuple[str, list[str]]]:
    """Each control with the arms that are compared with it."""
    out = {one.arm for one in withheld}
    groups: dict[str, list[str]] = {}
    for arm in plan.arms:
        if arm.against is not None and arm.name not in out:
            groups.setdefault(arm.against, []).append(arm.name)
    return list(groups.items())


def plan_of(spec: StudySpec) -> records.Looking:
    """How the statistics call it."""
    if isinstance(spec.seeds, int):
        return "fixed"
    return "auto" if spec.seeds == "auto" else "open"


def family(plan: Plan) -> int:
    """How many contrasts share the 5 %: one for each arm but the first, whether it gets a verdict or not."""
    return sum(arm.against is not None for arm in plan.arms)


def first_look(spec: StudySpec) -> int:
    """The seeds that every arm gets."""
    return spec.seeds if isinstance(spec.seeds, int) else sequential.FEWEST


def scores(spec: StudySpec, arm: str, entries: Entries) -> list[float | None]:
    """The arm's scores in percent by seed, none for a run that gave none, as far as it has run."""
    found = [entries[arm, seed].score(spec.metric) for seed in _seeds(arm, entries)]
    return [None if score is None else 100 * score for score in found]


def _seeds(arm: str, entries: Entries) -> list[int]:
    """Those of all runs in order, up to the first that this arm has yet to run."""
    every = sorted({seed for _, seed in entries})
    return list(takewhile(lambda seed: (arm, seed) in entries, every))


def _withhold(plan: Plan, arm: Arm, entries: Entries) -> Withheld | None:
    """Why an arm is left out of the comparison: it costs more or less than what it is compared with, or was
    cut short. Runs after the first look do not matter here: they would change the verdicts of other arms.
    """
    if arm.against is None:
        return None
    entries = _of_seeds(entries, _seeds(arm.against, entries)[: first_look(plan.spec)])
    together = min(len(_seeds(name, entries)) for name in (arm.name, arm.against))
    if together < 2:
        return Withheld(arm=arm.name, reason=f"{_runs(together)} with {arm.against}; it takes two at least")
    finished = [score for score in scores(plan.spec, arm.against, entries)[:together] if score is not None]
    if len(finished) < 2:
        failed = together - len(finished)
        reason = f"{failed} of {together} runs of {arm.against} failed, so there is nothing to compare with"
        return Withheld(arm=arm.name, reason=reason)
    if unequal := unequal_budgets(plan, arm):
        return Withheld(arm=arm.name, reason=unequal)
    declared = plan.spec.unequal
    ratio = costs.time_ratio(arm.name, arm.against, entries)
    if ratio and not {"time", "macs"} & set(declared) and ratio[1] and abs(log(ratio[0])) > _LONGER:
        wanted = ", ".join(f'"{key}"' for key in (*declared, "time"))
        return Withheld(
            arm=arm.name,
            reason=f"unequal budgets: in every block it took longer or shorter, {ratio[0]:.2f} times "
            f"{arm.against} in the median; to compare nevertheless, begin a study with unequal = [{wanted}], "
            "or name these runs to toynet compare with --unequal time",
        )
    return _stopped_early(plan, arm.name, arm.against, entries)


def _stopped_early(plan: Plan, arm: str, against: str, entries: Entries) -> Withheld | None:
    found = (entry for entry in entries.values() if entry.outcome == "stopped_early")
    cut = sorted({entry.arm for entry in found} & {arm, against})
    if not cut or "epochs" in plan.spec.unequal:
        return None
    return Withheld(arm=arm, reason=f"runs of {' and '.join(cut)} stopped early; take early_stop off")


def _cut_short(plan: Plan, found: Comparison, entries: Entries) -> Iterator[Withheld]:
    """Arms of a comparison that a run among the seeds that count for them keeps from a verdict after all."""
    for arm in found.arms[1:]:
        counted = _of_seeds(entries, _seeds(found.control, entries)[: arm.planned])
        if cut := _stopped_early(plan, arm.name, found.control, counted):
            yield cut


def _without_verdicts(found: Comparison, cut: Sequence[Withheld]) -> Comparison:
    """Their scores stay: what is said of the others rests on them too, and so do their looks."""
    out = {one.arm for one in cut}
    changed: dict[str, object] = {
        "contrasts": tuple(one for one in found.contrasts if one.variant not in out)
    }
    if set(found.running) <= out:
        changed |= {"running": (), "next_look": None}
    return found.model_copy(update=changed)


def _of_seeds(entries: Entries, seeds: Collection[int]) -> Entries:
    return {key: entry for key, entry in entries.items() if key[1] in seeds}


def unequal_budgets(plan: Plan, arm: Arm) -> str | None:
    """What an arm may spend more or less of than what it is compared with, and the study does not declare."""
    if arm.against is None:
        return None
    declared = plan.spec.unequal
    differ = unfair(plan.sizes[arm.against], plan.sizes[arm.name])
    undeclared = {key: values for key, values in differ.items() if key not in declared}
    if not undeclared:
        return None
    told = ", ".join(f"{key} {old:,} and {new:,}" for key, (old, new) in undeclared.items())
    wanted = ", ".join(f'"{key}"' for key in (*declared, *undeclared))
    return f"unequal budgets: {told}; to compare nevertheless, unequal = [{wanted}]"


def _runs(count: int) -> str:
    return "one seed so far together" if count else "no seed so far together"


def _compare(plan: Plan, control: str, variants: Sequence[str], entries: Entries) -> Comparison:
    spec, names = plan.spec, (control, *variants)
    seeds = {name: _seeds(name, entries) for name in names}
    longest = len(seeds[control]) if plan_of(spec) != "fixed" else min(map(len, seeds.values()))
    seeds = {name: found[:longest] for name, found in seeds.items()}
    return comparison.compare(
        {name: [entries[name, seed].score(spec.metric) for seed in seeds[name]] for name in names},
        control=control,
        unit="fraction",
        plan=plan_of(spec),
        margin=spec.margin,
        correct=_correctness(seeds, entries) if _on_the_same_images(spec) else None,
        chance=1 / plan.classes,
        family=family(plan),
    )


def _compare_unseen(plan: Plan, found: Sequence[Comparison], entries: Entries) -> Comparison | None:
    """Scored anew on the images that were not trained on; none where no image is left."""
    if not found or len(plan.seen) >= max(entry.images for entry in entries.values()):
        return None
    rest = {key: _without(entry, plan.seen) for key, entry in entries.items()}
    control, *variants = (arm.name for arm in found[0].arms)
    return _compare(plan, control, variants, rest)


def _without(entry: Entry, images: Sequence[int]) -> Entry:
    if entry.test_accuracy is None:
        return entry
    kept = np.delete(entry.correctness(), images)
    return entry.model_copy(
        update={"test_accuracy": float(kept.mean()), "correct": pack(kept), "images": len(kept)}
    )


def _on_the_same_images(spec: StudySpec) -> bool:
    """Whether an image's answers can be followed over seeds: at a fixed epoch, and for the same images."""
    return spec.metric != "best_val_accuracy" and not spec.images_vary


def _correctness(seeds: Mapping[str, Sequence[int]], entries: Entries) -> dict[str, NDArray[np.bool_]]:
    """(seeds, images) for each arm, nothing right where a run gave no score."""
    images = max(entries[name, seed].images for name, mine in seeds.items() for seed in mine)
    nothing = np.zeros(images, bool)
    found: dict[str, NDArray[np.bool_]] = {}
    for name, mine in seeds.items():
        runs = [entries[name, seed] for seed in mine]
        found[name] = np.stack([run.correctness() if run.images == images else nothing for run in runs])
    return found
