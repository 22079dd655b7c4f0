"""A trained model back from its run folder."""

from typing import Literal, get_args

from torch import nn

from toynet.core.errors import CheckpointError, UsageError, did_you_mean
from toynet.runs import subject
from toynet.runs.folder import RunFolder
from toynet.training import checkpoints, precision
from toynet.training.learner import take_weights
from toynet.training.setup import prepare, stated

Which = Literal["last", "best"]


def check(which: str) -> None:
    """Raise `UsageError` for what names no checkpoint."""
    if which not in get_args(Which):
        raise UsageError(f"checkpoint {which!r}; {did_you_mean(which, get_args(Which))}")


def refuse_best(which: Which, file: str) -> None:
    """Raise `UsageError` where a checkpoint is chosen of a file, which holds but one."""
    if which != "last":
        raise UsageError(f"checkpoint {which}: {file} holds one set of weights; leave that out")


def load_plain(folder: RunFolder, which: Which = "last") -> nn.Module:
    """The run's model in float32 on the CPU, with averaged weights where the recipe keeps an average.

    `last` is the state that the run's scores belong to; `best` the checkpoint with the highest validation
    accuracy. Raises `CheckpointError` when there is no whole checkpoint, and for a finished run of which the
    last is damaged: an earlier one is not what its scores and its calibration belong to.
    """
    check(which)
    recipe = folder.recipe()
    if which == "best":
        path = checkpoints.best(folder.checkpoints)
        if path is None:
            raise CheckpointError(f"run {folder.name} has no best checkpoint")
        parts, _ = checkpoints.load(path)
    else:
        parts, _, passed_over = checkpoints.load_latest(folder.checkpoints)
        if passed_over and folder.result() is not None:
            raise CheckpointError(f"{passed_over[0]}; bring that back, or take the best by --checkpoint best")
    model = subject.build_model(recipe, folder.card())
    take_weights(model, parts, recipe.train)
    return model


def load_model(folder: RunFolder, which: Which = "last") -> nn.Module:
    """The same on the machine's device, with the run's kernels and memory order."""
    model = load_plain(folder, which).to(precision.device())
    prepare(model, stated(folder.recipe().train))
    return model
