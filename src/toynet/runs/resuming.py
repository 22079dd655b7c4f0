"""Where a run goes on: its state, whole or not, and what has changed since it began.

A missing piece of state or a changed setting is an error that names it; who allows an inexact continuation is
told what differs, and so is every reader of the run's folder.
"""

from collections.abc import Mapping
from typing import Any

import torch

from toynet.core.environment import describe
from toynet.core.errors import ToyNetError, UsageError
from toynet.core.records import EpochRecord
from toynet.core.reporter import Reporter
from toynet.core.wording import setting
from toynet.data import sources
from toynet.models import catalog
from toynet.runs.differences import Differences, differing, value_of
from toynet.runs.folder import RunFolder
from toynet.runs.recipe import Recipe
from toynet.training import checkpoints
from toynet.training.distributed import Ranks
from toynet.training.learner import Learner
from toynet.training.setup import CHOICES

Changes = Differences
"""What the run was begun with, and what is asked for now."""

_SETUP = *(f"train.{key}" for key in CHOICES), "train.threads"
_OPEN = "auto", None


def changes(folder: RunFolder, recipe: str, wanted: Recipe, asked: Mapping[str, Any]) -> Changes:
    """What differs from the run's own recipe in `asked`, the overrides now, and in the file of `recipe`.

    wanted: that file with `asked`. Settings that a run was begun with by override need not be given again.
    """
    begun, wanted = folder.recipe(), wanted.model_copy(update={"model": catalog.resolve(wanted.model)})
    found = differing(begun, wanted)
    edited = _edited(folder.base(), recipe, begun)
    meant = (key for key in found if key in edited or any(_meet(key, one) for one in asked))
    return {key: found[key] for key in sorted(meant) if not _is_kept(key, *found[key])}


def refuse(name: str, found: Changes) -> None:
    """Raise `UsageError` that shows the changes, if there are any."""
    if found:
        raise UsageError(
            f"run {name} was begun with {_shown(found, 0)}, not {_shown(found, 1)}; leave that out, "
            "name another run by --name, start a new one, or go on with it all the same by --allow-inexact"
        )


def values(found: Changes) -> dict[str, Any]:
    """What is asked for now."""
    return {key: now for key, (_, now) in found.items()}


def told(found: Changes) -> list[str]:
    return [f"{key} is {setting(now)}, was {setting(before)}" for key, (before, now) in found.items()]


def other_machine(folder: RunFolder, ranks: Ranks) -> list[str]:
    """A line where the machine, its versions or the ranks are not those the run began on."""
    before, now = folder.environment(), describe()
    keys = ("processor", "flags", "packages")
    differ = [key for key in keys if before.get(key) != now[key]]
    if before.get("threads") != torch.get_num_threads():
        differ.append("threads")
    if before.get("ranks", 1) != ranks.size:
        differ.append("ranks")
    return [f"{', '.join(differ)} differ from when this run began"] if differ else []


def restore(
    folder: RunFolder, recipe: Recipe, learner: Learner, reporter: Reporter, *, allow_inexact: bool
) -> list[str]:
    """Put `learner` where the run stopped, its records of epochs likewise; a line about each missing piece.

    Raises `ToyNetError` when a piece is missing, unless `allow_inexact`; `CheckpointError` when no checkpoint
    is whole.
    """
    records, missing = folder.metrics(), []
    if checkpoints.names(folder.checkpoints):
        parts, state, passed_over = checkpoints.load_latest(folder.checkpoints, allow_inexact=allow_inexact)
        missing += learner.restore(parts, state, allow_inexact=allow_inexact)
        for line in passed_over:
            reporter.note(f"passed over a checkpoint: {line}")
        checkpoints.set_aside_later(folder.checkpoints, state)
    elif _had_checkpoint(records, recipe):
        _allow(
            f"{folder.checkpoints} is empty, though {len(records)} epochs are done; bring it back, or begin "
            "again at the first epoch",
            allow_inexact,
        )
    done = {record.epoch for record in records}
    gaps = [str(epoch) for epoch in range(1, learner.state.epoch + 1) if epoch not in done]
    if gaps:
        lacking = f"{folder.path / 'metrics.jsonl'} lacks epoch {', '.join(gaps)}"
        _allow(f"{lacking}, which the checkpoint has done; bring it back, or go on without", allow_inexact)
        missing.append(lacking)
    folder.cut_metrics(learner.state.epoch)
    return missing


def _allow(what: str, allow_inexact: bool) -> None:
    if not allow_inexact:
        raise ToyNetError(f"{what} by --allow-inexact")


def _had_checkpoint(records: list[EpochRecord], recipe: Recipe) -> bool:
    """Whether one must have been saved: of an epoch before the last, which was due or the best so far."""
    every = recipe.train.checkpoint_every
    return any(line.epoch % every == 0 or line.val_accuracy is not None for line in records[:-1])


def _edited(base: Recipe | None, recipe: str, begun: Recipe) -> set[str]:
    """The settings that the recipe's file changed since the run began, where the run has them from there."""
    if base is None:
        return set()
    changed = differing(base, Recipe.load(recipe))
    return {key for key, (then, _) in changed.items() if then in (value_of(begun, key), *_OPEN)} - {"name"}


def _meet(key: str, other: str) -> bool:
    """Whether one of two dotted keys is the other or holds it."""
    return f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.")


def _is_kept(key: str, before: Any, now: Any) -> bool:
    """Whether what is asked for leaves the run as it was: a set-up that is left open, the same images."""
    return (key in _SETUP and now in _OPEN) or (key == "data.name" and sources.absolute(now) == before)


def _shown(found: Changes, side: int) -> str:
    return ", ".join(f"{key} = {setting(pair[side])}" for key, pair in list(found.items())[:5])
