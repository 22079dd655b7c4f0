"""A study from its file to its last run: plan, run, look, go on with the arms that are undecided."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Protocol

from toynet.core.environment import usable_cores
from toynet.core.errors import UsageError
from toynet.core.locks import folder_lock
from toynet.core.reporter import Reporter, Silent
from toynet.studies import analysis, budget, design, sharing, tuning
from toynet.studies.cluster import Cluster
from toynet.studies.design import Arm
from toynet.studies.engine import LocalEngine
from toynet.studies.folder import Account, StudyFolder
from toynet.studies.jobs import Job
from toynet.studies.ledger import Entry
from toynet.studies.outlook import Outlook, outlook
from toynet.studies.plan import Plan
from toynet.studies.preparation import Prepared, journal, prepare
from toynet.studies.schedule import Engine, Watcher, carry_out
from toynet.studies.spec import StudySpec
from toynet.training import precision
from toynet.training.interrupts import stop_on_signals

_IMAGES = ".images"


class Audience(Watcher, Reporter, Protocol):
    """Who follows a study: told of its plan, of its runs, and of what each look found."""

    def planned(self, plan: Plan, jobs: int, ahead: Outlook) -> None: ...

    def scheduled(self, jobs: Sequence[Job], known: analysis.Entries) -> None: ...

    def looked(self, account: Account) -> None: ...


class Nobody(Silent):
    """The audience that listens to nothing."""

    def planned(self, plan: Plan, jobs: int, ahead: Outlook) -> None:
        pass

    def scheduled(self, jobs: Sequence[Job], known: analysis.Entries) -> None:
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
    arms: tuple[Arm, ...] | None = None,
    jobs: int | None = None,
    cluster: Cluster | None = None,
    resume: bool = False,
    known_before: Callable[[Plan], Plan] | None = None,
    data_root: Path | None = None,
    audience: Audience | None = None,
) -> Account:
    """Carry the study out, in the folder `path`; returns all that its runs say.

    `arms`: those of `spec`, where they are known already. As many runs at once as `jobs`: by default one for
    each core, fewer where a GPU is short of memory, and the cores are divided among them; on a `cluster`, as
    many as it has room for. With `resume` a study that has begun goes on, here or there, on as many threads a
    run as before; what is finished is not done again, what a dying process took down is. `known_before` adds
    to the plan, once, before it is written: by default what had been tried beside the study. Raises
    `UsageError` for a study that cannot be, that does not fit into its budget, or that is there already;
    `ToyNetError` for a cluster that does not answer; `Interrupted` when a signal stops it.
    """
    audience, folder = audience or Nobody(), StudyFolder(path)
    _check_place(folder, resume)
    threads = _threads(folder, jobs, cluster)
    with closing(_engine(jobs, threads, cluster)) as engine:
        prepared = prepare(
            spec, arms or design.arms(spec), threads=threads, data_root=data_root, reporter=audience
        )
        ahead = outlook(folder, prepared, engine.jobs)
        if not resume:
            budget.check(spec, ahead)
        path.mkdir(parents=True, exist_ok=True)
        with folder_lock(path), stop_on_signals() as stop:
            plan = journal(folder, prepared.plan, known_before or partial(_with_tuning, folder))
            audience.planned(plan, engine.jobs, ahead)
            try:
                places = _share(folder, prepared)
                return _look_by_look(folder, spec, plan, places, engine, audience, lambda: stop.signal_number)
            finally:
                engine.close()
                shutil.rmtree(path / _IMAGES, ignore_errors=True)


def _with_tuning(folder: StudyFolder, plan: Plan) -> Plan:
    return plan.model_copy(update={"tuning": tuning.efforts(folder, plan)})


def _look_by_look(
    folder: StudyFolder,
    spec: StudySpec,
    plan: Plan,
    places: Mapping[str, str],
    engine: Engine,
    audience: Audience,
    stopped: Callable[[], int | None],
) -> Account:
    """Make runs and judge them, until no arm is to go on or the budget is spent.

    spec: the plan's, with the number of seeds and the budget that hold now.
    """
    repeated = {key for key, entry in folder.ledger.entries().items() if entry.outcome == "failed"}
    wanted = _blocks(spec, [arm.name for arm in plan.arms], analysis.first_look(spec))
    wanted += sorted(repeated - set(wanted), key=lambda key: key[1])
    while True:
        known = folder.ledger.entries()
        done = known.keys() - repeated
        coming = [_job(folder, plan, *key, places) for key in wanted if key not in done]
        audience.scheduled(coming, known)
        repeated = set()
        carry_out(engine, coming, record=folder.ledger.write_run, watcher=audience, stopped=stopped)
        account = folder.account()
        audience.looked(account)
        findings = account.findings
        if findings.next_look is None:
            return account
        wanted = _blocks(spec, findings.running, findings.next_look)
        if not budget.allows(spec, account.entries, wanted, engine.jobs):
            audience.note(
                f"stopped before the look at {findings.next_look} seeds, which does not fit into the budget "
                f"of {spec.budget}; with a larger one in the study's file, --resume goes on"
            )
            return account


def rehearse(
    spec: StudySpec,
    path: Path,
    *,
    jobs: int | None = None,
    cluster: Cluster | None = None,
    data_root: Path | None = None,
    audience: Audience | None = None,
) -> Outlook:
    """What `conduct` would say before its first run; nothing is written and nothing is run."""
    audience, folder = audience or Nobody(), StudyFolder(path)
    threads = _threads(folder, jobs, cluster)
    with closing(_engine(jobs, threads, cluster)) as engine:
        prepared = prepare(spec, design.arms(spec), threads=threads, data_root=data_root, reporter=audience)
        found = outlook(folder, prepared, engine.jobs)
        audience.planned(prepared.plan, engine.jobs, found)
        budget.check(spec, found)
    return found


def _threads(folder: StudyFolder, jobs: int | None, cluster: Cluster | None) -> int:
    """Of each run: as the study began with, else what was asked for, else a run's share of the cores."""
    if jobs is not None and jobs < 1:
        raise UsageError(f"jobs: a study needs one run at once at least, got {jobs}")
    asked = cluster.cpus_per_run if cluster else None
    if folder.ledger.plans():
        begun = folder.plans()[-1].control.recipe.train.threads or 1
        if asked not in (None, begun):
            raise UsageError(f"study {folder.name} was begun with {begun} threads a run, and keeps them")
        return begun
    if cluster:
        return asked or 1
    return max(1, usable_cores() // (jobs or usable_cores()))


def _engine(jobs: int | None, threads: int, cluster: Cluster | None) -> Engine:
    if cluster is None:
        if jobs is None:
            room = precision.runs_with_room() or usable_cores()
            jobs = max(1, min(room, usable_cores() // threads))
        return LocalEngine(jobs, threads)
    from toynet.studies.ray_engine import RayEngine

    return RayEngine(cluster, threads, jobs)


def _check_place(folder: StudyFolder, resume: bool) -> None:
    begun = folder.ledger.path.exists()
    if begun and not resume:
        raise UsageError(
            f"study {folder.name} has begun; go on with it by --resume, or choose another --name"
        )
    runs = folder.has_runs()
    if runs and not begun and not resume:
        raise UsageError(
            f"study {folder.name} has runs but no journal; --resume writes it anew from them, or choose "
            "another --name"
        )
    if resume and not begun and not runs:
        raise UsageError(f"there is no study {folder.name} to go on with; start it without --resume")


def _blocks(spec: StudySpec, arms: Sequence[str], seeds: int) -> list[tuple[str, int]]:
    """The runs of `arms` with the first `seeds` seeds, block by block."""
    return [(arm, spec.first_seed + place) for place in range(seeds) for arm in arms]


def _share(folder: StudyFolder, prepared: Prepared) -> dict[str, str]:
    """Where the images of each arm are shared; those that several arms use are written once."""
    places: dict[int, Path] = {}
    for images in prepared.images.values():
        if id(images) not in places:
            places[id(images)] = folder.path / _IMAGES / str(len(places))
            sharing.share(images.dataset, places[id(images)])
    return {arm: str(places[id(images)]) for arm, images in prepared.images.items()}


def _job(folder: StudyFolder, plan: Plan, arm: str, seed: int, places: Mapping[str, str]) -> Job:
    recipe = plan.replicate(arm, seed)
    path = str(folder.run(arm, seed).path)
    return Job(arm=arm, seed=seed, recipe=recipe.to_toml(), path=path, images=places[arm])
