"""Runs side by side: one process for each core, one thread in each, one run after the other in each.

A process loads torch once and then takes runs from a pipe. It ends when the pipe does, so nothing is left
when the study is killed; a run it was in the middle of goes on from its last checkpoint next time.
"""

import multiprocessing as mp
import os
import signal
import threading
import time
import tomllib
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from toynet.core.errors import Diverged, Interrupted, ToyNetError
from toynet.core.records import Record
from toynet.studies.design import differences
from toynet.studies.ledger import Entry, Part, sealed

if TYPE_CHECKING:
    from toynet.runs.folder import RunFolder
    from toynet.runs.recipe import Recipe

_ATTEMPTS = 2
"""How often a run is begun whose process dies."""


class Job(Record):
    """One run to make: an arm's recipe, with its seed and set-up stated, into a folder."""

    arm: str
    seed: int
    recipe: str
    """TOML, resolved."""

    path: str
    images: str
    """Where the images were shared."""


class Watcher(Protocol):
    """Is told what happens."""

    def began(self, job: Job) -> None: ...

    def ended(self, entry: Entry) -> None: ...


@dataclass
class _Worker:
    process: mp.process.BaseProcess
    pipe: Connection
    job: Job | None = None
    ready: bool = False
    """Whether it has come up; one that never does says nothing about its run."""


@dataclass
class Engine:
    """Up to `jobs` processes with `threads` each. To be closed."""

    jobs: int
    threads: int
    _workers: list[_Worker] = field(default_factory=list)

    def run(
        self,
        jobs: Sequence[Job],
        *,
        record: Callable[[Entry], None],
        watcher: Watcher,
        stopped: Callable[[], int | None],
    ) -> None:
        """Make all runs, in order as processes become free; `record` each as it ends, from this thread.

        A run that diverges or breaks is recorded as such. One whose process dies is begun again once. Raises
        `Interrupted` when `stopped` gives a signal's number, after every process has saved its run;
        `ToyNetError` for what a user must mend first, such as a full disk or a process that cannot start.
        """
        waiting, attempts = deque(jobs), dict.fromkeys(range(len(jobs)), 0)
        numbers = {id(job): number for number, job in enumerate(jobs)}
        while waiting or any(worker.job for worker in self._workers):
            if number := stopped():
                self.close()
                raise Interrupted("stopped; every run is saved, go on with --resume", signal_number=number)
            self._fill(waiting, watcher)
            for worker in self._answered():
                try:
                    answer = worker.pipe.recv()
                    if not worker.ready:
                        worker.ready = True
                        continue
                except (EOFError, OSError):
                    answer = self._bury(worker)
                job, worker.job = worker.job, None
                assert job is not None
                if isinstance(answer, str) and stopped():
                    waiting.append(job)  # a signal to all of us, not a fault of the run
                    break
                if isinstance(answer, str):
                    attempts[numbers[id(job)]] += 1
                    if attempts[numbers[id(job)]] < _ATTEMPTS:
                        waiting.appendleft(job)
                        continue
                    answer = Entry(arm=job.arm, seed=job.seed, outcome="failed", reason=answer)
                if isinstance(answer, ToyNetError):
                    raise answer
                record(answer)
                watcher.ended(answer)

    def close(self) -> None:
        """End all processes; idle ones at once, busy ones after they have saved."""
        for worker in self._workers:
            worker.pipe.close()
        for worker in self._workers:
            worker.process.join(timeout=30)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers.clear()

    def _fill(self, waiting: deque[Job], watcher: Watcher) -> None:
        while waiting:
            idle = next((worker for worker in self._workers if worker.job is None), None)
            if idle is None:
                if len(self._workers) >= self.jobs:
                    return
                idle = self._start()
            idle.job = waiting.popleft()
            with suppress(OSError):  # a process that has died is found when its answer is due
                idle.pipe.send(idle.job)
            watcher.began(idle.job)

    def _start(self) -> _Worker:
        context = mp.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, self.threads), daemon=True)
        with _environment(OMP_NUM_THREADS=str(self.threads)):
            process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def _answered(self) -> list[_Worker]:
        """The busy workers that have answered or died, once there is one; none after half a second."""
        busy = {worker.pipe: worker for worker in self._workers if worker.job is not None}
        return [busy[pipe] for pipe in wait(list(busy), timeout=0.5)]  # type: ignore[index]

    def _bury(self, worker: _Worker) -> str:
        """Why the process died. Raises `ToyNetError` where it never came up."""
        worker.process.join()
        self._workers.remove(worker)
        code = worker.process.exitcode or 0
        why = f"was killed (signal {-code})" if code < 0 else f"ended with code {code}"
        if not worker.ready:
            raise ToyNetError(
                f"a process for the runs {why} before it took one; from a script, call toynet.study below "
                "if __name__ == '__main__', and from a file"
            )
        return f"its process {why}"


def _work(pipe: Connection, threads: int) -> None:
    """The life of a process: take a run, make it, answer; until the pipe ends."""
    # A terminal's Ctrl-C reaches all processes; the study's own one decides, and tells the others.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    import torch

    torch.set_num_threads(threads)
    pipe.send("ready")
    inbox: deque[Any] = deque()
    arrived = threading.Semaphore(0)
    threading.Thread(target=_listen, args=(pipe, inbox, arrived), daemon=True).start()
    while True:
        arrived.acquire()
        job = inbox.popleft()
        if job is None:
            return
        try:
            answer: Any = _make(job)
        except Interrupted:
            return
        pipe.send(answer)


def _listen(pipe: Connection, inbox: "deque[Any]", arrived: threading.Semaphore) -> None:
    """Jobs as they come. When the other end is gone, ask the run in progress to save and stop."""
    while True:
        try:
            inbox.append(pipe.recv())
        except (EOFError, OSError):
            inbox.append(None)
            arrived.release()
            os.kill(os.getpid(), signal.SIGTERM)
            return
        arrived.release()


def _make(job: Job) -> Entry | ToyNetError:
    """One run, begun or gone on with. What went wrong with it is its outcome, not ours."""
    try:
        return _train(job)
    except Diverged as error:
        return Entry(arm=job.arm, seed=job.seed, outcome="diverged", reason=str(error))
    except Interrupted:
        raise
    except ToyNetError as error:
        return error
    except OSError as error:
        return ToyNetError(f"{job.path}: {error.strerror or error}")
    except Exception as error:
        detail = traceback.format_exception_only(error)[-1].strip()
        return Entry(arm=job.arm, seed=job.seed, outcome="failed", reason=detail)


def _train(job: Job) -> Entry:
    from toynet.core.reporter import Silent
    from toynet.runs import execute
    from toynet.runs.folder import RunFolder
    from toynet.runs.recipe import Recipe
    from toynet.studies.sharing import open_shared

    started, path = time.perf_counter(), Path(job.path)
    about, quiet, folder = open_shared(Path(job.images)), Silent(), RunFolder(path)
    recipe = Recipe.from_table(job.arm, tomllib.loads(job.recipe))
    if (path / "recipe.toml").exists():
        _check_recipe(folder, recipe)
        execute.resume(folder, threads=None, data_root=None, reporter=quiet, illustrate=_nothing, about=about)
    else:
        execute.start(recipe, path, data_root=None, reporter=quiet, illustrate=_nothing, about=about)
    part: Part = "test" if folder.recipe().eval.test else "val"
    return sealed(job.arm, folder, part, whole_s=time.perf_counter() - started)


def _check_recipe(folder: "RunFolder", recipe: "Recipe") -> None:
    """Raise `ToyNetError` for a run that was begun with another recipe than the plan's."""
    begun = folder.recipe()
    told = [str(change) for change in differences(begun, recipe, also=("train.seed", "train.precision"))]
    if told:
        raise ToyNetError(
            f"{folder.path} holds a run of another recipe ({'; '.join(told[:3])}); move it away, or start a "
            "study of another --name"
        )


def _nothing(folder: object) -> None:
    """Pictures of single runs are drawn when somebody asks for them."""


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """What a process that is started meanwhile inherits."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
