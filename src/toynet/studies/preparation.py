"""From arms as they were asked for to a frozen plan: images read, a common set-up chosen, sizes counted."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from toynet.core.errors import UsageError
from toynet.core.reporter import Reporter, Silent
from toynet.data.duplicates import shared_images
from toynet.data.images import Dataset
from toynet.models.cost import cost
from toynet.runs import setups, subject
from toynet.runs.folder import DataCard
from toynet.runs.recipe import Recipe
from toynet.runs.subject import Subject
from toynet.studies import design
from toynet.studies.design import Arm, Size
from toynet.studies.folder import StudyFolder
from toynet.studies.plan import Plan
from toynet.studies.spec import StudySpec
from toynet.training import freezing
from toynet.training.course import Course
from toynet.training.setup import CHOICES


class Prepared(NamedTuple):
    """A plan, and the images that each of its arms trains on."""

    plan: Plan
    images: Mapping[str, Subject]


def prepare(
    spec: StudySpec,
    arms: tuple[Arm, ...],
    *,
    threads: int,
    data_root: Path | None,
    reporter: Reporter,
) -> Prepared:
    """Read what the arms are about and freeze the plan. Raises `UsageError` or `DataError`."""
    about: dict[str, Subject] = {}
    arms = tuple(_pinned(spec, arm) for arm in arms)
    for arm in arms:
        key = _data_key(arm.recipe)
        about[key] = about.get(key) or subject.read(arm.recipe, data_root, reporter)
    images = {arm.name: about[_data_key(arm.recipe)] for arm in arms}
    card = images[arms[0].name].card
    for arm in arms:
        _check(spec, arm, images)
    chosen = _with_setups(arms, card, threads, reporter)
    sizes = {arm.name: _size(arm.recipe, images[arm.name].card) for arm in chosen}
    plan = Plan(
        spec=spec,
        arms=chosen,
        sizes=sizes,
        classes=len(card.classes),
        digest=card.digest,
        test_digest=card.test_digest,
        seen=_seen(images[arms[0].name].dataset) if spec.metric == "test_accuracy" else (),
    )
    # Through JSON once, so that it equals what is read back from the journal.
    return Prepared(Plan.model_validate_json(plan.model_dump_json()), images)


def _pinned(spec: StudySpec, arm: Arm) -> Arm:
    """With the recipe that its runs will have stored, whatever folder the study is resumed from."""
    try:
        return arm.model_copy(update={"recipe": subject.pin(arm.recipe)})
    except UsageError as error:
        raise UsageError(f"study {spec.name}, {arm.name}: {error}") from None


def _check(spec: StudySpec, arm: Arm, images: Mapping[str, Subject]) -> None:
    """What a run would only find out later, and whether an arm is scored on the images of its control."""
    mine, other = images[arm.name], images[arm.against or arm.name]
    try:
        subject.check_crop(arm.recipe, mine.card.image_shape)
        model = subject.build_model(arm.recipe, mine.card)
        freezing.check(model, arm.recipe.train.freeze)
        subject.check_batches(arm.recipe, mine.card.train_images, model, mine.card.image_shape)
    except UsageError as error:
        raise UsageError(f"study {spec.name}, {arm.name}: {error}") from None
    if spec.vary_split and (fixed := _fixed_split(arm.recipe, mine)):
        raise UsageError(f"study {spec.name}, {arm.name}: vary_split draws validation images, but {fixed}")
    if mine is not other and not _same_validation(mine, other):
        raise UsageError(
            f"study {spec.name}, {arm.name}: it would be scored on other images than {arm.against}; give "
            "both the same data and split"
        )


def _seen(dataset: Dataset) -> tuple[int, ...]:
    return tuple(shared_images(dataset.test, dataset.train)[:, 0].tolist())


def _fixed_split(recipe: Recipe, about: Subject) -> str | None:
    """Why no seed would change which images validate."""
    if recipe.data.protocol != "standard":
        return f'data.protocol = "{recipe.data.protocol}" does not; use "standard"'
    return "these images bring their own (val)" if about.dataset.val is not None else None


def _same_validation(one: Subject, other: Subject) -> bool:
    mine, theirs = one.split.val, other.split.val
    if mine is None or theirs is None:
        return mine is theirs
    return mine.digest == theirs.digest


def journal(folder: StudyFolder, plan: Plan, known_before: Callable[[Plan], Plan]) -> Plan:
    """Write the plan, or make sure that it is the one the study was begun with, but for more seeds.

    known_before: called once, with the plan, just before one is written for the first time; adds to it what
    is true at that moment only.
    """
    if not folder.ledger.plans():
        plan = known_before(plan)
        folder.ledger.write_plan(json.loads(plan.model_dump_json()))
        return plan
    old = folder.plans()[-1]
    told = _differences(old, plan)
    if told:
        raise UsageError(
            f"study {folder.name} was begun differently ({told}); give what was set then, or start a new one "
            "by --name"
        )
    if old.spec.seeds != plan.spec.seeds:
        _check_extension(folder, old.spec, plan.spec)
        longer = old.model_copy(update={"spec": plan.spec})
        folder.ledger.write_plan(json.loads(longer.model_dump_json()))
        return longer
    return old


def _differences(old: Plan, new: Plan) -> str:
    """Empty where both plan the same, whatever number of seeds and whatever is noted of the variants."""
    changed = [
        f"{arm.name}: {change}"
        for was, arm in zip(old.arms, new.arms, strict=False)
        for change in design.differences(was.recipe, arm.recipe)
    ]
    if changed:
        return "; ".join(changed[:3])
    if [arm.name for arm in old.arms] != [arm.name for arm in new.arms]:
        return "its arms"
    before, after = (_without_notes(plan.spec) for plan in (old, new))
    fields = [key for key in StudySpec.model_fields if getattr(before, key) != getattr(after, key)]
    if settled := [field for field in fields if field not in ("seeds", "budget")]:
        return ", ".join(settled)
    return "other images" if old.digest != new.digest else ""


def _without_notes(spec: StudySpec) -> StudySpec:
    silent = tuple(variant.model_copy(update={"note": ""}) for variant in spec.variants)
    return spec.model_copy(update={"variants": silent})


def _check_extension(folder: StudyFolder, old: StudySpec, new: StudySpec) -> None:
    name = folder.name
    if folder.finals():
        raise UsageError(
            f"study {name} has a final claim, whose seeds further ones would meet; start anew by --name"
        )
    if not (isinstance(old.seeds, int) and isinstance(new.seeds, int) and new.seeds > old.seeds):
        raise UsageError(
            f"study {name} was planned with seeds {old.seeds}; it can only go on to a larger number"
            if isinstance(old.seeds, int)
            else f"study {name} was planned with seeds {old.seeds}, which cannot be changed once it has begun"
        )


def _with_setups(arms: tuple[Arm, ...], card: DataCard, threads: int, reporter: Reporter) -> tuple[Arm, ...]:
    """All arms carried out alike: in the control's set-up, but for what an arm states itself."""
    one = arms[0].recipe.with_changes({"train.threads": threads})
    setup = setups.choose(one, card, reporter).setup
    reporter.note(f"set-up: {setup}")
    chosen = []
    for arm in arms:
        stated = {key: value for key in CHOICES if (value := getattr(arm.recipe.train, key)) != "auto"}
        if stated:
            own = setups.choose(arm.recipe.with_changes({"train.threads": threads}), card, Silent()).setup
            recipe = setups.with_setup(arm.recipe, own)
        else:
            recipe = setups.with_setup(arm.recipe, setup)
        chosen.append(arm.model_copy(update={"recipe": recipe}))
    return tuple(chosen)


def _size(recipe: Recipe, card: DataCard) -> Size:
    found = cost(subject.build_model(recipe, card), card.image_shape)
    return Size(
        epochs=recipe.train.epochs,
        samples=Course.of(recipe.train, card.train_images).images,
        parameters=found.parameters,
        macs=found.macs,
    )


def _data_key(recipe: Recipe) -> str:
    return recipe.data.model_dump_json()
