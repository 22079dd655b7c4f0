"""A study from its file to its last run: plan, run, look, go on with the arms that are undecided."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from toynet.core.environment import usable_cores
from toynet.core.errors import UsageError
from toynet.core.files import folder_lock
from toynet.core.reporter import Reporter, Silent
from toynet.models.cost import cost
from toynet.runs import setups, subject
from toynet.runs.folder import DataCard
from toynet.runs.recipe import Recipe
from toynet.studies import analysis, design, sharing
from toynet.studies.design import Arm, Size
from toynet.studies.engine import Engine, Job, Watcher
from toynet.studies.folder import Account, Plan, StudyFolder
from toynet.studies.ledger import Entry
from toynet.studies.spec import StudySpec
from toynet.training.interrupts import stop_on_signals

_SETUP = ("precision", "kernels", "memory_format")
_IMAGES = ".images"


class Audience(Watcher, Reporter, Protocol):
    """Who follows a study: told of its plan, of its runs, and of what each look found."""

    def planned(self, plan: Plan, jobs: int) -> None: ...

    def looked(self, account: Account) -> None: ...


class Nobody(Silent):
    """The audience that listens to nothing."""

    def planned(self, plan: Plan, jobs: int) -> None:
        pass

    def began(self, job: Job) -> None:
        pass

    def ended(self, entry: Entry) -> None:
        pass

    def looked(self, account: Account) -> None:
        pass


def conduct(
    spec: StudySpec,
    path: Path,
    *,
    jobs: int | None = None,
    resume: bool = False,
    data: str | None = None,
    data_root: Path | None = None,
    audience: Audience | None = None,
) -> Account:
    """Carry the study out, in the folder `path`; returns all that its runs say.

    As many runs at once as `jobs`, by default one for each core, and the cores are divided among them. With
    `resume` a study that has begun goes on; what is finished is not done again. Raises `UsageError` for a
    study that cannot be, or that is there already; `Interrupted` when a signal stops it.
    """
    audience = audience or Nobody()
    jobs = jobs or usable_cores()
    threads = max(1, usable_cores() // jobs)
    folder = StudyFolder(path)
    _check_place(folder, resume)
    path.mkdir(parents=True, exist_ok=True)
    with folder_lock(path), stop_on_signals() as stop:
        plan, about = _plan(spec, threads, data, data_root, audience)
        _journal(folder, plan)
        audience.planned(plan, jobs)
        engine = Engine(jobs, threads)
        try:
            places = _share(folder, plan, about)
            wanted = _blocks(spec, [arm.name for arm in plan.arms], analysis.first_look(spec))
            while True:
                done = folder.ledger.entries()
                engine.run(
                    [
                        _job(folder, plan, arm, seed, places)
                        for arm, seed in wanted
                        if (arm, seed) not in done
                    ],
                    record=folder.ledger.write_run,
                    watcher=audience,
                    stopped=lambda: stop.signal_number is not None,
                )
                account = folder.account()
                audience.looked(account)
                findings = account.findings
                if findings.next_look is None:
                    return account
                wanted = _blocks(spec, findings.running, findings.next_look)
        finally:
            engine.close()
            shutil.rmtree(path / _IMAGES, ignore_errors=True)


def _check_place(folder: StudyFolder, resume: bool) -> None:
    begun = folder.ledger.path.exists()
    if begun and not resume:
        raise UsageError(
            f"study {folder.name} has begun; go on with it by --resume, or choose another --name"
        )
    if resume and not begun:
        raise UsageError(f"there is no study {folder.name} to go on with; start it without --resume")


def _plan(
    spec: StudySpec, threads: int, data: str | None, data_root: Path | None, reporter: Reporter
) -> tuple[Plan, dict[str, subject.Subject]]:
    """The frozen plan, and the images by data set as recipes describe it."""
    arms = design.arms(spec, data)
    about: dict[str, subject.Subject] = {}
    for arm in arms:
        key = _data_key(arm.recipe)
        about[key] = about.get(key) or subject.read(arm.recipe, data_root, reporter)
    control = about[_data_key(arms[0].recipe)].card
    arms = _with_setups(arms, control, threads, reporter)
    sizes = {arm.name: _size(arm.recipe, about[_data_key(arm.recipe)].card) for arm in arms}
    plan = Plan(spec=spec, arms=arms, sizes=sizes, classes=len(control.classes), digest=control.digest)
    # Through JSON once, so that it equals what is read back from the journal.
    return Plan.model_validate_json(plan.model_dump_json()), about


def _with_setups(arms: tuple[Arm, ...], card: DataCard, threads: int, reporter: Reporter) -> tuple[Arm, ...]:
    """All arms carried out alike: in the control's set-up, but for what an arm states itself."""
    one = arms[0].recipe.with_changes({"train.threads": threads})
    setup = setups.choose(one, card, reporter).setup
    reporter.note(f"set-up: {setup}")
    chosen = []
    for arm in arms:
        stated = {key: value for key in _SETUP if (value := getattr(arm.recipe.train, key)) != "auto"}
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
        samples=recipe.train.epochs * card.train_images,
        parameters=found.parameters,
        macs=found.macs,
    )


def _journal(folder: StudyFolder, plan: Plan) -> None:
    """Write the plan, or make sure that it is the one the study was begun with."""
    before = folder.ledger.plan()
    now: dict[str, Any] = json.loads(plan.model_dump_json())
    if before is None:
        folder.ledger.write_plan(now)
        return
    differ = [key for key in now if key != "arms" and before.get(key) != now[key]]
    old, new = Plan.model_validate(before), plan
    changed = [
        f"{arm.name}: {change}"
        for was, arm in zip(old.arms, new.arms, strict=False)
        for change in design.differences(was.recipe, arm.recipe)
    ]
    if differ or changed or [arm.name for arm in old.arms] != [arm.name for arm in new.arms]:
        what = "; ".join(changed[:3]) or ", ".join(differ) or "its arms"
        raise UsageError(f"study {folder.name} was begun differently ({what}); start a new one by --name")


def _blocks(spec: StudySpec, arms: Sequence[str], seeds: int) -> list[tuple[str, int]]:
    """The runs of `arms` with the first `seeds` seeds, block by block."""
    return [(arm, spec.first_seed + place) for place in range(seeds) for arm in arms]


def _share(folder: StudyFolder, plan: Plan, about: Mapping[str, subject.Subject]) -> dict[str, str]:
    """Where the images of each arm are shared."""
    places: dict[str, str] = {}
    for number, (key, images) in enumerate(about.items()):
        place = folder.path / _IMAGES / str(number)
        sharing.share(images, place)
        places |= {arm.name: str(place) for arm in plan.arms if _data_key(arm.recipe) == key}
    return places


def _job(folder: StudyFolder, plan: Plan, arm: str, seed: int, places: Mapping[str, str]) -> Job:
    recipe = plan.arm(arm).recipe.with_changes({"train.seed": seed})
    path = str(folder.run(arm, seed).path)
    return Job(arm=arm, seed=seed, recipe=recipe.to_toml(), path=path, images=places[arm])


def _data_key(recipe: Recipe) -> str:
    return recipe.data.model_dump_json()
