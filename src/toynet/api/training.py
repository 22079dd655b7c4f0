"""The verb that trains."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toynet.api.run import Run
from toynet.core import places
from toynet.core.errors import ToyNetError, UsageError
from toynet.core.locks import is_held
from toynet.core.reporter import Reporter, Silent
from toynet.runs import execute, resuming
from toynet.runs import weights as first_weights
from toynet.runs.folder import RunFolder, check_name
from toynet.runs.ranks import assist
from toynet.runs.recipe import Recipe, shipped
from toynet.training.distributed import joined


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
        if resume:
            _check_is_no_run(recipe, root)
        wanted = Recipe.load(recipe, changes)
        if resume:
            if "model.weights" in changes:
                wanted = first_weights.pin(wanted)
                changes["model.weights_sha256"] = wanted.model.weights_sha256
            folder = _unfinished(recipe, wanted, name, root, changes)
            changed = resuming.changes(folder, recipe, wanted, changes)
            if not allow_inexact:
                resuming.refuse(folder.name, changed)
            result = execute.resume(
                folder,
                threads=threads,
                data_root=data_root,
                reporter=reporter,
                illustrate=_illustrate,
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
            illustrate=_illustrate,
            base=_base(recipe),
            ranks=ranks,
        )
        return Run(RunFolder(path), result)


def _illustrate(folder: RunFolder) -> None:
    from toynet.reporting.run_figures import draw_run  # loads matplotlib, which need not delay the first step

    draw_run(folder)


def _base(recipe: str) -> Recipe | None:
    """The recipe as its file says it; none where it is nothing without what overrides it."""
    try:
        return Recipe.load(recipe)
    except UsageError:
        return None


def _check_is_no_run(recipe: str, root: Path) -> None:
    """Raise `UsageError` that says how to go on with a run that was named instead of its recipe."""
    folder = RunFolder(root / recipe)
    if not recipe.endswith(".toml") and recipe not in shipped() and (folder.path / "recipe.toml").exists():
        raise UsageError(
            f"{recipe} is a run, not a recipe; go on with it by "
            f"toynet train {folder.recipe().name} --resume --name {recipe}"
        )


def _unfinished(
    recipe: str, wanted: Recipe, name: str | None, root: Path, asked: Mapping[str, Any]
) -> RunFolder:
    """The run to go on with. Raises `UsageError` when there is none or when it is of another recipe."""
    if name is not None:
        folder = RunFolder.open(name, root)
    else:
        folder = _newest_unfinished(recipe, wanted, root, asked)
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


def _newest_unfinished(recipe: str, wanted: Recipe, root: Path, asked: Mapping[str, Any]) -> RunFolder:
    """Of those that nobody trains now and that were begun with what is asked for, as far as there are any."""
    folders = [RunFolder(file.parent) for file in root.glob("[!.]*/recipe.toml")]
    mine = [folder for folder in folders if _is_unfinished(folder, wanted.name)]
    if not mine:
        raise UsageError(f"there is no unfinished run of {wanted.name} in {root}; start one without --resume")
    mine = [folder for folder in mine if not is_held(folder.path)] or mine
    same = [folder for folder in mine if not resuming.changes(folder, recipe, wanted, asked)]
    return max(same or mine, key=lambda folder: (folder.path / "recipe.toml").stat().st_mtime)
