"""What a reader must know of a study besides its verdicts, as far as its design and its runs tell it.

What scores alone can tell, such as unequal spreads, is in `toynet.stats.warnings`. Source: STATS 7 of the
project's design notes; each has a code, so that a page can explain it.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from toynet.core.wording import counted
from toynet.evaluation.settling import SETTLED, epochs_to_settle, remainder
from toynet.stats.records import Caution, Comparison
from toynet.studies.costs import time_ratio
from toynet.studies.design import Arm, unfair
from toynet.studies.ledger import Entry
from toynet.studies.plan import Plan
from toynet.studies.spec import StudySpec
from toynet.training.course import passes_of

Entries = Mapping[tuple[str, int], Entry]

_TUNED = 3
"""Settings; with fewer, neither side can be said to have been tuned."""

NOTABLE = 0.05
"""Time that differs by a larger share is told beside the difference in score."""


def cautions(
    plan: Plan,
    entries: Entries,
    earlier: Sequence[Plan],
    *,
    repeated: Collection[tuple[str, int]],
    capped: Sequence[str],
) -> tuple[Caution, ...]:
    """All that apply, the gravest first.

    earlier: what was planned before seeds were added; repeated: runs that had failed and were made again;
    capped: effects of factors without a verdict because of failures.
    """
    return (
        *_test_reads(plan),
        *_added(plan, earlier),
        *_repeated(repeated),
        *_unfinished(plan, entries),
        *_failed(plan, entries, capped),
        *_joint(plan.arms),
        *_evaluation(plan.arms),
        *_looks(plan.spec),
        *_metric(plan.spec),
        *_split(plan.spec),
        *unsettled(plan),
        *_tuning(plan),
        *_machines(entries),
        *_sizes(plan),
        *_time(plan, entries),
    )


def seen(plan: Plan, found: Sequence[Comparison], unseen: Comparison | None) -> Iterator[Caution]:
    """What a claim comes to where test images were trained on. found: with them."""
    if not plan.seen:
        return
    text = f"{counted(len(plan.seen), 'test image')} also in train, pixel for pixel"
    if unseen is None:
        yield Caution(code="seen-in-training", text=text)
        return
    shown = "; ".join(
        f"{raw.name} {raw.mean:.2f} % with them, {rest.mean:.2f} % without"
        for raw, rest in zip(found[0].arms, unseen.arms, strict=True)
        if raw.mean is not None and rest.mean is not None
    )
    without = " ".join(f"{one.variant} without them: {one.sentence}" for one in unseen.contrasts)
    yield Caution(code="seen-in-training", text=f"{text}: {shown}. {without}")


def _test_reads(plan: Plan) -> Iterator[Caution]:
    if plan.test_reads > 1:
        text = f"these test images have been read {plan.test_reads} times from here, this time included"
        yield Caution(code="test-reads", text=f"{text}: the fewer looks before, the stronger the claim")


def _added(plan: Plan, earlier: Sequence[Plan]) -> Iterator[Caution]:
    if earlier:
        steps = ", ".join(str(one.spec.seeds) for one in (*earlier, plan))
        text = (
            f"seeds were added after a look at the results ({steps}), so false alarms are likelier than 5 %"
        )
        yield Caution(code="seeds-added", text=f'{text}; plan seeds = "auto" to look more than once')


def _repeated(repeated: Collection[tuple[str, int]]) -> Iterator[Caution]:
    if repeated:
        told = ", ".join(f"{arm} seed {seed}" for arm, seed in sorted(repeated))
        text = f"{counted(len(repeated), 'run')} that had failed, made again on --resume ({told})"
        yield Caution(code="rerun", text=text)


def _unfinished(plan: Plan, entries: Entries) -> Iterator[Caution]:
    """Looking early and judging is what makes false alarms; open-ended and later looks have their own."""
    seeds = plan.spec.seeds
    if not isinstance(seeds, int) or not entries:
        return
    missing = seeds * len(plan.arms) - len(entries)
    if missing > 0:
        text = (
            f"{missing} of {seeds * len(plan.arms)} planned runs have yet to be made: description only so far"
        )
        yield Caution(code="unfinished", text=text)


def _failed(plan: Plan, entries: Entries, capped: Sequence[str]) -> Iterator[Caution]:
    """Blocks that factors do without."""
    metric = plan.spec.metric
    lost = {key for key, entry in entries.items() if entry.score(metric) is None}
    blocks = sorted({seed for _, seed in lost})
    if plan.spec.factors and blocks:
        seeds = ", ".join(map(str, blocks))
        text = f"{len(lost)} runs failed; the factors' effects do without their whole seeds ({seeds})"
        if capped:
            text += (
                f"; no verdict on {', '.join(capped)}: none is known to survive scoring failures as chance"
            )
        yield Caution(code="failures", text=text)


def _looks(spec: StudySpec) -> Iterator[Caution]:
    if spec.factors and not isinstance(spec.seeds, int):
        text = "the study looks at its cells several times; the effects' intervals hold for one look"
        yield Caution(code="looks-at-effects", text=text)


def _joint(arms: Sequence[Arm]) -> Iterator[Caution]:
    """Factorial cells differ in several keys by design; there the factors' effects are told apart."""
    for arm in arms:
        if len(arm.factors) > 1 and not arm.levels:
            keys = ", ".join(arm.factors)
            text = f"{arm.name} differs from {arm.against} in {len(arm.factors)} keys ({keys})"
            yield Caution(code="joint-effect", text=f"{text}: joint effect only, cannot attribute")


def _evaluation(arms: Sequence[Arm]) -> Iterator[Caution]:
    differ = [arm.name for arm in arms if any(change.key.startswith("eval.") for change in arm.changes)]
    if differ:
        text = (
            f"{', '.join(differ)}: evaluated in another way than the arm compared with, not only trained so"
        )
        yield Caution(code="evaluation", text=text)


def _metric(spec: StudySpec) -> Iterator[Caution]:
    if spec.metric == "best_val_accuracy":
        text = "the best of a run's epochs is scored, chosen on the images that score it: scores are too high"
        yield Caution(code="best-epoch", text=f"{text}, and more so for restless arms")


def _split(spec: StudySpec) -> Iterator[Caution]:
    """Nadeau and Bengio 2003, "Inference for the Generalization Error", on parts that overlap."""
    if spec.images_vary:
        text = "every seed set other images apart, so the intervals hold for more than one choice of them"
        yield Caution(
            code="varied-split", text=f"{text}; training parts overlap, which makes them a little narrow"
        )


def unsettled(plan: Plan) -> Iterator[Caution]:
    """Arms whose scores say little of what they learnt, as their runs end before batch norm has settled."""
    few = {}
    for arm in plan.arms:
        size = plan.sizes[arm.name]
        images = max(1, size.samples // size.epochs)
        remains = remainder(arm.recipe.settings(), size.epochs * passes_of(images, arm.recipe.train))
        if remains > SETTLED:
            few[arm.name] = epochs_to_settle(remains, size.epochs)
    if few:
        who = "every arm" if len(few) == len(plan.arms) else ", ".join(few)
        text = (
            f"{who}: too few steps for batch norm's averages to settle, so that scores fall short of what is "
            f"learnt, at worst to chance; {max(few.values())} epochs are enough"
        )
        yield Caution(code="few-steps", text=text)


def _tuning(plan: Plan) -> Iterator[Caution]:
    """Each side's settings count once for itself, so that a first trial of either is nothing to tell."""
    for arm in plan.arms:
        effort = plan.tuning.get(arm.name)
        if effort is None:
            continue
        few, many = sorted((effort.arm, effort.control))
        if many >= _TUNED and many + 1 > 2 * (few + 1):
            text = (
                f"before this study {effort.arm} other settings had been tried on these images with what "
                f"{arm.name} has, {effort.control} with what {arm.against} has"
            )
            yield Caution(code="unequal-tuning", text=f"{text}: the side tuned more looks better than it is")


def _machines(entries: Entries) -> Iterator[Caution]:
    """A block's runs should differ in their arm only."""
    blocks: dict[int, set[tuple[str, int]]] = {}
    for (_, seed), entry in entries.items():
        if entry.machine:
            blocks.setdefault(seed, set()).add((entry.machine, entry.threads))
    mixed = sorted(seed for seed, found in blocks.items() if len(found) > 1)
    if mixed:
        seeds = ", ".join(map(str, mixed))
        text = (
            f"runs of the same seed ran on different machines, versions, precision or threads (seeds {seeds})"
        )
        yield Caution(code="mixed-machines", text=text)


def _sizes(plan: Plan) -> Iterator[Caution]:
    """Costs that differ by declaration; those that are not declared keep an arm from its verdict."""
    for arm in plan.arms:
        if arm.against is None:
            continue
        differ = unfair(plan.sizes[arm.against], plan.sizes[arm.name])
        told = [
            f"{key} {new / old:.2f} times" for key, (old, new) in differ.items() if key in plan.spec.unequal
        ]
        if told:
            text = f"{arm.name} does not cost what {arm.against} does: {', '.join(told)}"
            yield Caution(code="unequal-cost", text=text)


def _time(plan: Plan, entries: Entries) -> Iterator[Caution]:
    told = []
    for arm in plan.arms:
        ratio = time_ratio(arm.name, arm.against, entries) if arm.against else None
        if ratio and ratio[1] and abs(ratio[0] - 1) > NOTABLE:
            told.append(f"{arm.name} {ratio[0]:.2f} times {arm.against}")
    if told:
        text = f"a run took longer or shorter than its pair in every block, median: {', '.join(told)}"
        yield Caution(code="unequal-time", text=text)
