"""From a recipe and a seed to a finished run folder."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import torch
from torch import nn

from toynet.core.disk import disk_errors
from toynet.core.environment import describe
from toynet.core.errors import Diverged, ToyNetError
from toynet.core.locks import folder_lock
from toynet.core.memory import keep_freed_memory
from toynet.core.records import EpochRecord, RunResult, Status
from toynet.core.reporter import Reporter
from toynet.core.wording import counted
from toynet.models.cost import cost
from toynet.runs import ranks as crew
from toynet.runs import reads, resuming, scoring, setups, subject, weights
from toynet.runs.folder import RunFolder, check_free
from toynet.runs.recipe import Recipe
from toynet.runs.subject import Subject
from toynet.runs.tensorboard import EventLog, event_log
from toynet.training import checkpoints, freezing, loop, precision
from toynet.training.distributed import ALONE, Ranks
from toynet.training.interrupts import stop_on_signals
from toynet.training.learner import Learner
from toynet.training.setup import on_threads, prepare, stated

Illustrate = Callable[[RunFolder], object]


def start(
    recipe: Recipe,
    path: Path,
    *,
    data_root: Path | None,
    reporter: Reporter,
    illustrate: Illustrate,
    about: Subject | None = None,
    base: Recipe | None = None,
    ranks: Ranks = ALONE,
) -> RunResult:
    """Run `recipe` into a new folder at `path`; `about` is what it is about, where that is known already.

    Nothing is created before images and model are known to be usable. `base` is `recipe` before anything was
    overridden, by which a later resume notices that the recipe has changed. Raises `UsageError` or
    `DataError` for a request that cannot be run, `DiskError` where the checkpoints find no room, `Diverged`
    after recording it, `Interrupted` after saving.
    """
    keep_freed_memory()
    check_free(path)
    reads.check_ledger(path.parent)
    crew.check(ranks, recipe)
    recipe = subject.pin(recipe)
    setups.begin_kernels(recipe)
    about = about or subject.read(recipe, data_root, reporter)
    model = subject.build_model(recipe, about.card)
    freezing.check(model, recipe.train.freeze)
    if ranks.size == 1:  # several divide each batch, and may count it as one
        subject.check_batches(recipe, about.card.train_images, model, about.card.image_shape)
    weights.load_into(model, recipe, reporter)
    checkpoints.require_room(path / "checkpoints", Learner.fresh(model, recipe.optim, recipe.train))
    subject.note_imbalance(recipe, about, reporter)
    subject.note_few_steps(recipe, about, reporter)
    recipe = setups.resolve(recipe, about.card, reporter)
    with on_threads(stated(recipe.train).threads):
        environment = {**describe(), "threads": torch.get_num_threads(), "device": precision.device()}
        environment["ranks"] = ranks.size
        with RunFolder.create(path, recipe, about.card, environment, base) as folder:
            learner = _learner(recipe, subject.first_model(recipe, about, precision.device()))
            return _run(_Attempt(folder, recipe, about, learner, reporter, ranks), illustrate)


def resume(
    folder: RunFolder,
    *,
    threads: int | None,
    data_root: Path | None,
    reporter: Reporter,
    illustrate: Illustrate,
    about: Subject | None = None,
    changes: resuming.Changes | None = None,
    allow_inexact: bool = False,
    ranks: Ranks = ALONE,
) -> RunResult:
    """Go on with an unfinished run as if it had not stopped; a finished one is returned as it is.

    It goes on with as many threads in all as it began with, unless `threads` says otherwise, and with the
    recipe that it began with, but for `changes`. With `allow_inexact` parts of its state may be missing.
    Whatever makes it another run is told and kept in its folder. Raises `ToyNetError` when the images are not
    the ones the run began with, or its state is not whole.
    """
    keep_freed_memory()
    with on_threads(threads or _threads(folder, ranks)), folder_lock(folder.path):
        finished = folder.result()
        if finished is not None:
            reporter.note(f"run {folder.name} is finished already")
            return finished
        recipe = folder.recipe().with_changes(resuming.values(changes or {}))
        about = about or subject.read(recipe, data_root, reporter)
        check_same_images(folder, about)
        crew.check(ranks, recipe)
        learner = _learner(recipe, _begun_model(folder, recipe, about))
        reasons = [*resuming.told(changes or {}), *resuming.other_machine(folder, ranks)]
        reasons += resuming.restore(folder, recipe, learner, reporter, allow_inexact=allow_inexact)
        reporter.note(f"run {folder.name} goes on, with {counted(learner.state.epoch, 'epoch')} done")
        for reason in reasons:
            reporter.note(f"{reason}: it goes on, but not bit for bit")
        if reasons:
            folder.go_on_inexactly(recipe, step=learner.state.step, reasons=reasons)
        checkpoints.require_room(folder.checkpoints, learner)
        return _run(_Attempt(folder, recipe, about, learner, reporter, ranks), illustrate)


def fresh_name(recipe: Recipe, root: Path) -> str:
    """A name that `check_name` takes, made from recipe, seed and time, and that no run below `root` has."""
    name = f"{recipe.label}-s{recipe.train.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
    taken = (f"{name}-{number}" for number in count(2))
    return name if not (root / name).exists() else next(n for n in taken if not (root / n).exists())


def check_same_images(folder: RunFolder, about: Subject) -> None:
    """Raise `ToyNetError` when a run's images have changed since it began."""
    if folder.card().digest != about.card.digest:
        raise ToyNetError(
            f"data {about.card.name} is not what run {folder.name} was trained on "
            "(other images, labels or split); bring those back or start a new run"
        )


@dataclass(frozen=True)
class _Attempt:
    """All that the steps of a run share, from where `learner` stands to the sealed result."""

    folder: RunFolder
    recipe: Recipe
    about: Subject
    learner: Learner
    reporter: Reporter
    ranks: Ranks


def _learner(recipe: Recipe, model: nn.Module) -> Learner:
    """`model` with all that moves, ready for the recipe's set-up."""
    prepare(model, stated(recipe.train))
    return Learner.fresh(model, recipe.optim, recipe.train)


def _begun_model(folder: RunFolder, recipe: Recipe, about: Subject) -> nn.Module:
    """For a checkpoint's weights, which are all there: the file that the run began with may be gone."""
    if checkpoints.names(folder.checkpoints):
        return subject.build_model(recipe, about.card).to(precision.device())
    return subject.first_model(recipe, about, precision.device())


def _run(attempt: _Attempt, illustrate: Illustrate) -> RunResult:
    folder, recipe, learner = attempt.folder, attempt.recipe, attempt.learner
    with disk_errors(folder.path, checkpoints.size_bytes(learner)):
        waiting = attempt.ranks
        try:
            _train(attempt)
            waiting = ALONE  # the other ranks have done their part
            scores = scoring.score(folder, recipe, attempt.about, learner, attempt.reporter)
        except Diverged as error:
            folder.seal(_result(attempt, "diverged", str(error), scoring.Scores(None, None)))
            waiting.wait()
            raise
        illustrate(folder)
        early = learner.state.epoch < recipe.train.epochs
        reason = f"no better validation accuracy for {recipe.train.early_stop} epochs" if early else None
        status: Status = "stopped_early" if early else "finished"
        result = _result(attempt, status, reason, scores)
        folder.seal(result)
    return result


def _train(attempt: _Attempt) -> None:
    folder, recipe, about, learner, ranks = (
        attempt.folder,
        attempt.recipe,
        attempt.about,
        attempt.learner,
        attempt.ranks,
    )
    device = precision.device()
    crew.enlist(ranks, folder.name, recipe, about, learner)
    folder.tensorboard.mkdir(exist_ok=True)
    with (
        event_log(folder.tensorboard, epochs_done=learner.state.epoch) as events,
        torch.random.fork_rng(),
        precision.repeatable(device),
        crew.in_step(ranks, recipe, learner),
        stop_on_signals(to_the_end=ranks.size > 1) as stop,
    ):
        loop.train(
            learner,
            subject.plan(recipe, about.card),
            subject.training_images(about, device),
            validate=subject.validator(recipe, about, device, ranks),
            record=partial(_record, folder, recipe, learner, events),
            save=partial(checkpoints.save, folder.checkpoints),
            stop=stop,
            reporter=attempt.reporter,
            ranks=ranks,
        )


def _record(
    folder: RunFolder, recipe: Recipe, learner: Learner, events: EventLog, record: EpochRecord
) -> None:
    folder.append_metrics(record)
    events.scalars(record)
    if record.epoch % recipe.train.checkpoint_every == 0 or record.epoch == recipe.train.epochs:
        events.histograms(learner.model, record.epoch)


def _result(attempt: _Attempt, status: Status, reason: str | None, scores: scoring.Scores) -> RunResult:
    """The result, from what is on the disk and in memory."""
    folder, recipe, about, learner = attempt.folder, attempt.recipe, attempt.about, attempt.learner
    lines = folder.metrics()
    size = cost(subject.build_model(recipe, about.card), about.card.image_shape)
    images = [recipe.train.images_in(line.epoch - 1, about.card.train_images) for line in lines]
    seconds = sum(count / line.images_per_s for count, line in zip(images, lines, strict=True))
    return RunResult(
        status=status,
        identity=recipe.identity(about.card.digest),
        recipe=recipe.name,
        data=recipe.data.name,
        protocol=recipe.data.protocol,
        seed=recipe.train.seed,
        epochs=learner.state.epoch,
        planned_epochs=recipe.train.epochs,
        stopped_at_step=None if status == "finished" else learner.state.step,
        reason=reason,
        val_accuracy=scores.val.accuracy if scores.val else None,
        val_loss=scores.val.loss if scores.val else None,
        best_val_accuracy=learner.state.best_val_accuracy,
        best_epoch=learner.state.best_epoch,
        test_accuracy=scores.test.accuracy if scores.test else None,
        test_loss=scores.test.loss if scores.test else None,
        train_s=learner.state.elapsed_s,
        images_per_s=sum(images) / seconds if lines else 0.0,
        parameters=size.parameters,
        trainable_parameters=size.trainable,
        macs=size.macs,
        precision=stated(recipe.train).precision,
        threads=torch.get_num_threads(),
        ranks=attempt.ranks.size,
        exact=folder.is_exact,
    )


def _threads(folder: RunFolder, ranks: Ranks) -> int:
    """For each rank, so that all together have as many as the run began with."""
    began = folder.environment()
    return max(1, int(began["threads"]) * int(began.get("ranks", 1)) // ranks.size)
