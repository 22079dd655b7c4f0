"""Runs that are there already, told as a study: replicates of arms, compared over the seeds they share."""

from collections import Counter
from collections.abc import Sequence
from math import inf

from toynet.core.errors import UsageError
from toynet.core.records import RunResult
from toynet.runs.folder import RunFolder
from toynet.runs.recipe import Recipe
from toynet.studies import analysis, design
from toynet.studies.design import Arm, Change, Size
from toynet.studies.folder import Account
from toynet.studies.ledger import Entry, Part, sealed
from toynet.studies.plan import Plan
from toynet.studies.spec import Cost, Metric, StudySpec, Variant
from toynet.training.course import Course


def gather(
    runs: Sequence[RunFolder], *, margin: float | None = None, unequal: tuple[Cost, ...] = ()
) -> Account:
    """Runs whose recipes differ in the seed only are one arm; the first run's arm is the control.

    They are scored on validation, or on test where one of them validated nothing. Raises `UsageError` for
    runs that are one arm only, or not comparable; `ToyNetError` for one that is not finished or is damaged.
    """
    if margin is not None and not 0 < margin < inf:
        raise UsageError(f"margin must be above 0 points and finite, got {margin:g}")
    groups = _groups(runs)
    if len(groups) < 2:
        raise UsageError("these runs differ in nothing but their seeds; name runs of two recipes at least")
    _check_images(runs)
    metric, part = _metric(runs)
    names = _names(groups)
    entries: dict[tuple[str, int], Entry] = {}
    folders: dict[tuple[str, int], RunFolder] = {}
    for name, run in ((name, run) for name, group in zip(names, groups, strict=True) for run in group):
        entry = sealed(name, run, part)
        key = name, entry.seed
        if key in entries:
            raise UsageError(
                f"{folders[key].name} and {run.name} are one recipe with one seed; leave one out"
            )
        entries[key], folders[key] = entry, run
    shared = set.intersection(*({seed for arm, seed in entries if arm == name} for name in names))
    arms = _arms(names, [group[0].recipe() for group in groups])
    card = runs[0].card()
    plan = Plan(
        spec=_spec(arms, seeds=len(shared), metric=metric, margin=margin, unequal=unequal),
        arms=arms,
        sizes={name: _size(group[0]) for name, group in zip(names, groups, strict=True)},
        classes=len(card.classes),
        digest=card.digest,
        test_digest=card.test_digest,
    )
    judged = {key: entry for key, entry in entries.items() if key[1] in shared}
    found = analysis.analyse(plan, judged)
    # Nothing was planned here, so nothing is unfinished.
    told = tuple(caution for caution in found.cautions if caution.code != "unfinished")
    ended = found.model_copy(update={"cautions": told, "next_look": None, "running": ()})
    return Account(plan.spec.name, None, plan, entries, ended, folders)


def _arms(names: Sequence[str], recipes: Sequence[Recipe]) -> tuple[Arm, ...]:
    control = Arm(name=names[0], against=None, recipe=recipes[0])
    rest = (
        Arm(name=name, against=names[0], recipe=recipe, changes=_changes(recipes[0], recipe))
        for name, recipe in zip(names[1:], recipes[1:], strict=True)
    )
    return control, *rest


def _spec(
    arms: Sequence[Arm], *, seeds: int, metric: Metric, margin: float | None, unequal: tuple[Cost, ...]
) -> StudySpec:
    control, *variants = arms
    return StudySpec(
        name="comparison",
        question=f"Is {' or '.join(arm.name for arm in variants)} better than {control.name}?",
        recipe=control.recipe.name,
        seeds=max(2, seeds),
        metric=metric,
        margin=margin,
        unequal=unequal,
        variants=tuple(Variant(name=arm.name, recipe=arm.recipe.name) for arm in variants),
    )


def _groups(runs: Sequence[RunFolder]) -> list[list[RunFolder]]:
    """Runs of equal recipes, but for the seed and the set-up, in the order of their first."""
    groups: list[list[RunFolder]] = []
    for run in runs:
        recipe = run.recipe()
        mine = (group for group in groups if not _changes(group[0].recipe(), recipe))
        group = next(mine, None)
        if group is None:
            groups.append([run])
        else:
            group.append(run)
    return groups


def _changes(before: Recipe, after: Recipe) -> tuple[Change, ...]:
    return design.differences(before, after, also=["train.precision"])


def _check_images(runs: Sequence[RunFolder]) -> None:
    one = runs[0]
    for run in runs[1:]:
        if run.card().digest != one.card().digest:
            raise UsageError(
                f"runs {one.name} and {run.name} have other images or another split; scores do not compare"
            )


def _metric(runs: Sequence[RunFolder]) -> tuple[Metric, Part]:
    if all(run.card().val_images for run in runs):
        return "val_accuracy", "val"
    if all(run.recipe().eval.test for run in runs):
        return "test_accuracy", "test"
    raise UsageError("some of these runs have validation images only and others test images only")


def _names(groups: Sequence[Sequence[RunFolder]]) -> list[str]:
    """The recipes' names where they tell the arms apart, else the first run's."""
    names = [group[0].recipe().name.removesuffix(".toml").rpartition("/")[2] for group in groups]
    if len(set(names)) < len(names):
        names = [group[0].name for group in groups]
    counts = Counter(names)
    return [
        name if counts[name] == 1 else f"{name} ({names[: place + 1].count(name)})"
        for place, name in enumerate(names)
    ]


def _size(run: RunFolder) -> Size:
    result: RunResult | None = run.result()
    assert result is not None  # sealed() has read it
    return Size(
        epochs=result.planned_epochs,
        samples=Course.of(run.recipe().train, run.card().train_images).images,
        parameters=result.parameters,
        macs=result.macs,
    )
