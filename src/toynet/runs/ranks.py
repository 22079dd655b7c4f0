"""How the other ranks of a run come to train it: the first one tells them what, and lends them its state.

Only the first rank has the run's folder, its lock and its records; the others need no common disk with it.
"""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch

from toynet.core.errors import DataError, Diverged, UsageError
from toynet.core.memory import keep_freed_memory
from toynet.core.records import EpochRecord, Record
from toynet.core.reporter import Silent
from toynet.runs import subject
from toynet.runs.recipe import Recipe
from toynet.runs.subject import Subject
from toynet.training import loop, precision
from toynet.training.distributed import Ranks
from toynet.training.interrupts import stop_on_signals
from toynet.training.learner import Learner
from toynet.training.setup import on_threads, prepare, stated
from toynet.training.synced_norm import synced


class Task(Record):
    """What there is to train. images: their digest."""

    run: str
    recipe: Recipe
    images: str


def check(ranks: Ranks, recipe: Recipe) -> None:
    """Raise `UsageError` when there are more ranks than images in a batch."""
    if ranks.size > recipe.train.batch_size:
        raise UsageError(
            f"{ranks.size} ranks cannot share batches of {recipe.train.batch_size} images; "
            "start fewer, or raise train.batch_size"
        )


def enlist(ranks: Ranks, run: str, recipe: Recipe, about: Subject, learner: Learner) -> None:
    """Let the other ranks begin where `learner`, the first one's, stands."""
    if ranks.size > 1:
        ranks.publish(Task(run=run, recipe=recipe, images=about.card.digest).model_dump_json())
        ranks.ready()
        # Through the host's memory, else all ranks of a machine would unpack them on its first GPU.
        parts = {
            part: {name: t.cpu() for name, t in tensors.items()} for part, tensors in learner.parts().items()
        }
        ranks.from_first((torch.get_num_threads(), parts, learner.state))


def assist(ranks: Ranks, data_root: Path | None) -> str | None:
    """Train on a rank that is not the first; returns the run's name, none where there was nothing to do.

    Raises `DataError` when the images here are not the first rank's, and what `loop.train` raises.
    """
    keep_freed_memory()
    text = ranks.published()
    if not text:
        return None
    task = Task.model_validate_json(text)
    recipe, device = task.recipe, precision.device()
    about = subject.read(recipe, data_root, Silent())
    if about.card.digest != task.images:
        raise DataError(
            f"data {about.card.name}: the images or labels that rank {ranks.rank} reads are not those of "
            "rank 0; give every machine the same copy"
        )
    model = subject.build_model(recipe, about.card).to(device)
    prepare(model, stated(recipe.train))
    learner = Learner.fresh(model, recipe.optim, recipe.train)
    ranks.ready()
    threads, parts, state = ranks.from_first((0, learner.parts(), learner.state))
    learner.restore(parts, state)
    with (
        on_threads(threads),
        torch.random.fork_rng(),
        precision.repeatable(device),
        in_step(ranks, recipe, learner),
        stop_on_signals(to_the_end=True) as stop,
    ):
        try:
            loop.train(
                learner,
                subject.plan(recipe, about.card),
                subject.training_images(about, device),
                validate=subject.validator(recipe, about, device, ranks),
                record=_leave_to_the_first,
                save=_leave_to_the_first,
                stop=stop,
                reporter=Silent(),
                ranks=ranks,
            )
        except Diverged:
            ranks.wait()  # until the first has put it down
            raise
    return task.run


def in_step(ranks: Ranks, recipe: Recipe, learner: Learner) -> AbstractContextManager[None]:
    """The block in which the ranks' models meet in batch norm, where the recipe wants that."""
    return synced(learner.model, ranks) if recipe.train.batch_norm == "sync" else nullcontext()


def _leave_to_the_first(what: EpochRecord | Learner) -> None:
    pass
