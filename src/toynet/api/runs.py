"""The verbs about single runs: train, diagnose, preview, bench."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from toynet.augment import pipeline
from toynet.core import places
from toynet.core.errors import ToyNetError, UsageError
from toynet.core.records import RunResult
from toynet.core.reporter import Reporter, Silent
from toynet.evaluation.findings import Finding
from toynet.reporting import readings
from toynet.reporting.gallery import draw_preview
from toynet.reporting.run_figures import draw_run
from toynet.runs import execute, resuming, subject
from toynet.runs import weights as first_weights
from toynet.runs.folder import RunFolder, check_name
from toynet.runs.ranks import assist
from toynet.runs.recipe import Recipe
from toynet.speed.bench import MOST_SECONDS
from toynet.speed.bench import bench as measure
from toynet.speed.records import BenchResult
from toynet.training.distributed import joined


@dataclass(frozen=True)
class Run:
    """A run on disk and, once it is finished, its result."""

    folder: RunFolder
    result: RunResult | None

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def path(self) -> Path:
        return self.folder.path


def train(
    recipe: str = "default",
    *,
    data: str | None = None,
    seed: int | None = None,
    name: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    resume: bool = False,
    allow_inexact: bool = False,
    threads: int | None = None,
    weights: str | Path | None = None,
    root: Path | None = None,
    data_root: Path | None = None,
    reporter: Reporter | None = None,
) -> Run:
    """Train a recipe, by name or TOML path, into a run folder below `root` (`$TOYNET_RUNS`, else ./runs).

    `data`, `seed`, `threads` and `weights` (a file of Keras to start from) are short for the overrides
    data.name, train.seed, train.threads and model.weights. With `resume`, go on with the run called `name`,
    or with this recipe's newest unfinished one, on as many threads as it began with unless `threads` is
    given. Settings that have changed and state that is missing are then errors; with `allow_inexact` they are
    told and kept in the run's folder. Under `torchrun` the processes train one run together; only the first
    has its result. Raises `ToyNetError` and its kinds.
    """
    reporter, root = reporter or Silent(), root or places.runs_folder()
    changes = dict(overrides or {})
    changes |= {"data.name": data} if data is not None else {}
    changes |= {"train.seed": seed} if seed is not None else {}
    changes |= {"model.weights": str(weights)} if weights is not None else {}
    with joined() as ranks:
        if ranks.rank > 0:
            return Run(RunFolder(root / (assist(ranks, data_root) or "")), None)
        wanted = Recipe.load(recipe, changes)
        if resume:
            if "model.weights" in changes:
                wanted = first_weights.pin(wanted)
                changes["model.weights_sha256"] = wanted.model.weights_sha256
            folder = _unfinished(wanted, name, root)
            changed = resuming.changes(folder, recipe, wanted, changes)
            if not allow_inexact:
                resuming.refuse(folder.name, changed)
            result = execute.resume(
                folder,
                threads=threads,
                data_root=data_root,
                reporter=reporter,
                illustrate=draw_run,
                changes=changed,
                allow_inexact=allow_inexact,
                ranks=ranks,
            )
            return Run(folder, result)
        if allow_inexact:
            raise UsageError("allow_inexact goes with resume: a new run is exact")
        if threads is not None:
            wanted = wanted.with_changes({"train.threads": threads})
        path = root / (execute.fresh_name(wanted, root) if name is None else check_name(name))
        result = execute.start(
            wanted,
            path,
            data_root=data_root,
            reporter=reporter,
            illustrate=draw_run,
            base=_base(recipe),
            ranks=ranks,
        )
        return Run(RunFolder(path), result)


def open_run(run: str | Path | Run, *, root: Path | None = None) -> Run:
    """A run by name or path."""
    if isinstance(run, Run):
        return run
    folder = RunFolder.open(run, root or places.runs_folder())
    return Run(folder, folder.result())


def diagnose(run: str | Path | Run, *, root: Path | None = None) -> list[Finding]:
    """What the run's curves, classes and activations say, each with its numbers and one change to try."""
    opened = open_run(run, root=root)
    folder, records = opened.folder, opened.folder.metrics()
    diverged = opened.result is not None and opened.result.status == "diverged"
    if not records and not diverged:
        raise ToyNetError(f"run {folder.name} has not finished an epoch yet; there is nothing to read")
    # Advice must not be drawn from test images, so the classes are judged on validation only.
    return readings.findings(folder, records, readings.class_scores(folder, "val"))


def preview(
    recipe: str = "report/toynet20_init",
    path: str | Path = "preview.png",
    *,
    data: str | None = None,
    index: int = 0,
    overrides: Mapping[str, Any] | None = None,
    data_root: Path | None = None,
    reporter: Reporter | None = None,
) -> Path:
    """Draw training image number `index` augmented 24 times as the recipe does, then standardised."""
    changes = dict(overrides or {}) | ({"data.name": data} if data is not None else {})
    path, wanted = Path(path), Recipe.load(recipe, changes)
    about = subject.read(wanted, data_root, reporter or Silent())
    part = about.split.train
    if not 0 <= index < len(part):
        raise UsageError(f"index {index}: choose one of the training images 0..{len(part) - 1}")
    count = 24
    standardise = subject.standardiser(about.card, "cpu")
    images = torch.from_numpy(part.images[index : index + 1]).expand(count, -1, -1, -1).contiguous()
    labels = torch.from_numpy(part.labels[index : index + 1]).expand(count)
    draws = pipeline.draw(wanted.augment, np.arange(count), seed=wanted.train.seed, epoch=0)
    moved, _ = pipeline.augment(
        wanted.augment, standardise(images), labels, draws, slice(count), classes=len(about.card.classes)
    )
    standardised = moved.permute(0, 2, 3, 1).numpy()
    shown = standardised * np.array(about.card.std) + np.array(about.card.mean)
    title = f"{about.card.classes[part.labels[index]]}, number {index} of {about.card.name}"
    draw_preview(part.images[index], _bytes(shown), standardised, path, title)
    return path


def bench(
    recipe: str = "default",
    *,
    data: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    threads: int | None = None,
    seconds: float = 5.0,
    remember: bool | None = None,
    data_root: Path | None = None,
    reporter: Reporter | None = None,
) -> BenchResult:
    """How fast this machine trains a recipe's model, where the time goes, and how near that is to the limit.

    Images are random; only the shape of the user's own data set is read. The fastest set-up is chosen first,
    among what the recipe leaves at auto, and kept for `train`: always, never, or, with `remember` at none,
    unless other work keeps the cores busy. Each part is measured for about `seconds`. `data` and `threads`
    are short for overrides, as in `train`. Raises `ToyNetError` and its kinds.
    """
    if not 0 < seconds <= MOST_SECONDS:
        raise UsageError(f"seconds must be above 0 and at most {MOST_SECONDS}, got {seconds:g}")
    changes = dict(overrides or {})
    changes |= {"data.name": data} if data is not None else {}
    changes |= {"train.threads": threads} if threads is not None else {}
    return measure(
        Recipe.load(recipe, changes),
        changes=changes,
        seconds=seconds,
        keep=remember,
        data_root=data_root,
        reporter=reporter or Silent(),
    )


def _bytes(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.asarray(values.round().clip(0, 255), np.uint8)


def _base(recipe: str) -> Recipe | None:
    """The recipe as its file says it; none where it is nothing without what overrides it."""
    try:
        return Recipe.load(recipe)
    except UsageError:
        return None


def _unfinished(wanted: Recipe, name: str | None, root: Path) -> RunFolder:
    """The run to go on with. Raises `UsageError` when there is none or when it is of another recipe."""
    if name is not None:
        folder = RunFolder.open(name, root)
    else:
        folder = _newest_unfinished(wanted, root)
    stored = folder.recipe()
    if stored.name != wanted.name:
        raise UsageError(f"run {folder.name} was begun with recipe {stored.name}, not {wanted.name}")
    result = folder.result()
    if result is not None and result.status == "diverged":
        raise UsageError(
            f"run {folder.name} diverged and cannot go on; start a new run with a lower optim.lr"
        )
    return folder


def _is_unfinished(folder: RunFolder, recipe: str) -> bool:
    try:
        return folder.result() is None and folder.recipe().name == recipe
    except ToyNetError:
        return False  # a damaged neighbour is not the one to go on with


def _newest_unfinished(wanted: Recipe, root: Path) -> RunFolder:
    folders = [RunFolder(file.parent) for file in root.glob("[!.]*/recipe.toml")]
    mine = [folder for folder in folders if _is_unfinished(folder, wanted.name)]
    if not mine:
        raise UsageError(f"there is no unfinished run of {wanted.name} in {root}; start one without --resume")
    return max(mine, key=lambda folder: (folder.path / "recipe.toml").stat().st_mtime)
