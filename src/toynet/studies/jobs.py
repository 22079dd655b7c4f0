"""One run of a study, wherever it is made: what is to be done, doing it, and how it ended."""

import time
import tomllib
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from toynet.core.errors import Diverged, Interrupted, ToyNetError
from toynet.core.locks import is_held
from toynet.core.records import Record
from toynet.studies.design import differences
from toynet.studies.ledger import Entry, Part, sealed

if TYPE_CHECKING:
    from toynet.runs.folder import RunFolder
    from toynet.runs.recipe import Recipe

_FREE_WITHIN_S = 120.0
"""A file server keeps the locks of a machine that is gone for a minute or two."""


class Job(Record):
    """One run to make: an arm's recipe, with its seed and set-up stated, into a folder."""

    arm: str
    seed: int
    recipe: str
    """TOML, resolved."""

    path: str
    images: str
    """Where the images were shared."""


class Lost(Record):
    """The process or the machine that made a run is gone, and says nothing about the run itself."""

    reason: str


Answer = Entry | Lost | ToyNetError
"""How a run ended; an error is what a user must mend before any other run, such as a full disk."""


def make(job: Job) -> Entry | ToyNetError:
    """One run, begun or gone on with. What went wrong with it is its outcome, not ours.

    Raises `Interrupted` when a signal stops it, after it has been saved.
    """
    started = time.perf_counter()
    try:
        return _train(job, started)
    except Interrupted:
        raise
    except ToyNetError as error:
        return error
    except OSError as error:
        return ToyNetError(f"{job.path}: {error.strerror or error}")
    except Exception as error:
        told = traceback.format_exception_only(error)[-1].strip()
        return failed(job, told, whole_s=time.perf_counter() - started)


def failed(job: Job, reason: str, *, whole_s: float = 0.0) -> Entry:
    """The entry of a run that gives no result, ever. whole_s: what it took, if that is known."""
    return Entry(arm=job.arm, seed=job.seed, outcome="failed", reason=reason, whole_s=whole_s)


def _train(job: Job, started: float) -> Entry:
    from toynet.core.reporter import Silent
    from toynet.runs import execute, subject
    from toynet.runs.folder import RunFolder
    from toynet.runs.recipe import Recipe
    from toynet.studies.sharing import open_shared
    from toynet.training import precision

    processor_s, path = time.process_time(), Path(job.path)
    quiet, folder = Silent(), RunFolder(path)
    recipe = Recipe.from_table(job.arm, tomllib.loads(job.recipe))
    about = subject.divide(open_shared(Path(job.images)), recipe.data)
    begun = (path / "recipe.toml").exists()
    with suppress(Diverged):  # such a run is sealed too
        if begun:
            _check_recipe(folder, recipe)
            _wait_until_free(path)
            execute.resume(
                folder, threads=None, data_root=None, reporter=quiet, illustrate=_nothing, about=about
            )
        else:
            execute.start(recipe, path, data_root=None, reporter=quiet, illustrate=_nothing, about=about)
    part: Part = "test" if folder.recipe().eval.test else "val"
    cpu_s = None if begun or precision.device() != "cpu" else time.process_time() - processor_s
    return sealed(job.arm, folder, part, whole_s=time.perf_counter() - started, cpu_s=cpu_s)


def _check_recipe(folder: "RunFolder", recipe: "Recipe") -> None:
    """Raise `ToyNetError` for a run that was begun with another recipe than the plan's."""
    begun = folder.recipe()
    told = [str(change) for change in differences(begun, recipe, also=("train.seed", "train.precision"))]
    if told:
        raise ToyNetError(
            f"{folder.path} holds a run of another recipe ({'; '.join(told[:3])}); move it away, or start a "
            "study of another --name"
        )


def _wait_until_free(path: Path) -> None:
    """A process whose study or machine has died may still be saving, or not know yet that it is alone.

    Who holds the run for longer than that can take is told by whoever locks it next.
    """
    deadline = time.monotonic() + _FREE_WITHIN_S
    while is_held(path) and time.monotonic() < deadline:
        time.sleep(0.2)


def _nothing(folder: object) -> None:
    """Pictures of single runs are drawn when somebody asks for them."""
