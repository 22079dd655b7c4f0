"""From a recipe and a seed to a finished run folder."""

import math
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from toynet.core.disk import disk_errors
from toynet.core.environment import describe
from toynet.core.errors import Diverged, ToyNetError
from toynet.core.files import write_atomic_with, write_json
from toynet.core.locks import folder_lock
from toynet.core.memory import keep_freed_memory
from toynet.core.records import EpochRecord, RunResult, Status
from toynet.core.reporter import Reporter, times
from toynet.core.seeds import stream
from toynet.data import sources
from toynet.evaluation import activations, metrics
from toynet.models.cost import cost
from toynet.runs import reads, resuming, setups, subject
from toynet.runs.folder import RunFolder, check_free
from toynet.runs.recipe import Recipe
from toynet.runs.subject import Subject
from toynet.runs.tensorboard import EventLog, event_log
from toynet.training import checkpoints, freezing, loop, precision
from toynet.training.interrupts import stop_on_signals
from toynet.training.learner import Learner
from toynet.training.setup import on_threads, prepare, stated

Illustrate = Callable[[RunFolder], object]
_GALLERY_OF_EACH = 12
_ACTIVATION_IMAGES = 256


class Scores(NamedTuple):
    """Of the final weights, with the recipe's test-time augmentation; none where there is no such part."""

    val: metrics.Metrics | None
    test: metrics.Metrics | None


def start(
    recipe: Recipe,
    path: Path,
    *,
    data_root: Path | None,
    reporter: Reporter,
    illustrate: Illustrate,
    about: Subject | None = None,
    base: Recipe | None = None,
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
    recipe = recipe.with_changes({"data.name": sources.absolute(recipe.data.name)})
    about = about or subject.read(recipe, data_root, reporter)
    model = subject.build_model(recipe, about.card)
    freezing.check(model, recipe.train.freeze)
    checkpoints.require_room(path / "checkpoints", Learner.fresh(model, recipe.optim, recipe.train))
    recipe = setups.resolve(recipe, about.card, reporter)
    with on_threads(stated(recipe.train).threads):
        environment = {**describe(), "threads": torch.get_num_threads(), "device": precision.device()}
        with RunFolder.create(path, recipe, about.card, environment, base) as folder:
            learner = _learner(recipe, about)
            return _run(folder, recipe, about, learner, reporter, illustrate)


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
) -> RunResult:
    """Go on with an unfinished run as if it had not stopped; a finished one is returned as it is.

    It goes on with as many threads as it began with, unless `threads` says otherwise, and with the recipe
    that it began with, but for `changes`. With `allow_inexact` parts of its state may be missing. Whatever
    makes it another run is told and kept in its folder. Raises `ToyNetError` when the images are not the
    ones the run began with, or its state is not whole.
    """
    keep_freed_memory()
    with on_threads(threads or folder.environment()["threads"]), folder_lock(folder.path):
        finished = folder.result()
        if finished is not None:
            reporter.note(f"run {folder.name} is finished already")
            return finished
        recipe = folder.recipe().with_changes(resuming.values(changes or {}))
        about = about or subject.read(recipe, data_root, reporter)
        check_same_images(folder, about)
        learner = _learner(recipe, about)
        reasons = [*resuming.told(changes or {}), *resuming.other_machine(folder)]
        reasons += resuming.restore(folder, recipe, learner, reporter, allow_inexact=allow_inexact)
        for reason in reasons:
            reporter.note(f"{reason}: it goes on, but not bit for bit")
        if reasons:
            folder.go_on_inexactly(recipe, step=learner.state.step, reasons=reasons)
        checkpoints.require_room(folder.checkpoints, learner)
        return _run(folder, recipe, about, learner, reporter, illustrate)


def fresh_name(recipe: Recipe, root: Path) -> str:
    """A name made from recipe, seed and time that no run below `root` has."""
    base = Path(recipe.name).stem if recipe.name.endswith(".toml") else recipe.name.replace("/", "-")
    name = f"{base}-s{recipe.train.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
    taken = (f"{name}-{number}" for number in count(2))
    return name if not (root / name).exists() else next(n for n in taken if not (root / n).exists())


def check_same_images(folder: RunFolder, about: Subject) -> None:
    """Raise `ToyNetError` when a run's images have changed since it began."""
    if folder.card().digest != about.card.digest:
        raise ToyNetError(
            f"data {about.card.name} is not what run {folder.name} was trained on "
            "(other images, labels or split); bring those back or start a new run"
        )


def _learner(recipe: Recipe, about: Subject) -> Learner:
    """The recipe's model at step 0, with all that moves, ready for the recipe's set-up."""
    model = subject.first_model(recipe, about, precision.device())
    prepare(model, stated(recipe.train))
    return Learner.fresh(model, recipe.optim, recipe.train)


def _run(
    folder: RunFolder,
    recipe: Recipe,
    about: Subject,
    learner: Learner,
    reporter: Reporter,
    illustrate: Illustrate,
) -> RunResult:
    """From where `learner` stands to the sealed result."""
    with disk_errors(folder.path, checkpoints.size_bytes(learner)):
        try:
            _train(folder, recipe, about, learner, reporter)
            scores = _evaluate(folder, recipe, about, learner, reporter)
        except Diverged as error:
            folder.seal(
                _result(folder, recipe, about, learner, "diverged", str(error), scores=Scores(None, None))
            )
            raise
        illustrate(folder)
        early = learner.state.epoch < recipe.train.epochs
        reason = f"no better validation accuracy for {recipe.train.early_stop} epochs" if early else None
        status: Status = "stopped_early" if early else "finished"
        result = _result(folder, recipe, about, learner, status, reason, scores=scores)
        folder.seal(result)
    return result


def _train(folder: RunFolder, recipe: Recipe, about: Subject, learner: Learner, reporter: Reporter) -> None:
    device, done = precision.device(), learner.state.epoch
    folder.tensorboard.mkdir(exist_ok=True)
    with (
        event_log(folder.tensorboard, epochs_done=done) as events,
        torch.random.fork_rng(),
        stop_on_signals() as stop,
    ):
        loop.train(
            learner,
            subject.plan(recipe, about.card),
            subject.training_images(about, device),
            validate=subject.validator(recipe, about, device),
            record=partial(_record, folder, recipe, learner, events),
            save=partial(checkpoints.save, folder.checkpoints),
            stop=stop,
            reporter=reporter,
        )


def _record(
    folder: RunFolder, recipe: Recipe, learner: Learner, events: EventLog, record: EpochRecord
) -> None:
    folder.append_metrics(record)
    events.scalars(record)
    if record.epoch % recipe.train.checkpoint_every == 0 or record.epoch == recipe.train.epochs:
        events.histograms(learner.model, record.epoch)


def _evaluate(
    folder: RunFolder, recipe: Recipe, about: Subject, learner: Learner, reporter: Reporter
) -> Scores:
    """Score the final weights, on test once or not at all; leave predictions and activations behind."""
    model, device = learner.model, precision.device()
    if learner.average is not None:
        learner.average.write_into(model)
    logits = partial(subject.classifier(recipe, about.card, device), model)
    val, parts = about.split.val, {"val": about.split.val}
    if recipe.eval.test:
        reads_so_far = reads.log_test_read(
            folder.path.parent, digest=about.card.test_digest, run=folder.name, verb="train"
        )
        reporter.note(
            f"final evaluation; these test images have now been read {times(reads_so_far)} from here"
        )
        parts["test"] = about.dataset.test
    arrays: dict[str, Any] = {"classes": np.array(about.card.classes)}
    scores: dict[str, metrics.Metrics] = {}
    for name, part in parts.items():
        if part is not None:
            found = logits(part.images)
            scores[name] = _finite(metrics.measure(found, part.labels), name, learner)
            chosen = _gallery(found, part.labels, recipe.train.seed)
            arrays |= {f"{name}_logits": found, f"{name}_labels": part.labels}
            # Of the last part: test where it is scored.
            arrays |= {"gallery_rows": chosen, "gallery_images": part.images[chosen]}
    write_atomic_with(folder.path / "predictions.npz", lambda file: np.savez_compressed(file, **arrays))
    sample = torch.from_numpy((val or about.split.train).images[:_ACTIVATION_IMAGES]).to(device)
    layers = activations.activation_summary(model, subject.standardiser(about.card, device)(sample))
    write_json(folder.path / "activations.json", [layer.model_dump(mode="json") for layer in layers])
    return Scores(scores.get("val"), scores.get("test"))


def _finite(found: metrics.Metrics, part: str, learner: Learner) -> metrics.Metrics:
    """`found`, if the weights that it scores make sense."""
    if math.isfinite(found.loss):
        return found
    state = learner.state
    raise Diverged(
        f"diverged by step {state.step} (epoch {state.epoch}): the final {part} loss is {found.loss}",
        step=state.step,
        epoch=state.epoch,
    )


def _gallery(logits: NDArray[np.float32], labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Rows of up to a dozen wrong and a dozen right predictions, drawn without looking at confidence."""
    right = logits.argmax(axis=1) == labels
    generator = stream(seed, "gallery")
    shuffled = generator.permutation(len(labels))
    return np.concatenate([shuffled[right[shuffled] == side][:_GALLERY_OF_EACH] for side in (False, True)])


def _result(
    folder: RunFolder,
    recipe: Recipe,
    about: Subject,
    learner: Learner,
    status: Status,
    reason: str | None,
    *,
    scores: Scores,
) -> RunResult:
    """The result, from what is on the disk and in memory."""
    lines = folder.metrics()
    size = cost(learner.model, about.card.image_shape)
    seconds = sum(about.card.train_images / line.images_per_s for line in lines)
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
        images_per_s=about.card.train_images * len(lines) / seconds if lines else 0.0,
        parameters=size.parameters,
        trainable_parameters=size.trainable,
        macs=size.macs,
        precision=stated(recipe.train).precision,
        threads=torch.get_num_threads(),
        exact=folder.is_exact,
    )
