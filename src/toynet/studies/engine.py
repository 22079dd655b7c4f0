"""Runs side by side: one process for each core, one thread in each, one run after the other in each.

A process loads torch once and then takes runs from a pipe. It ends when the pipe does, so nothing is left
when the study is killed; a run it was in the middle of goes on from its last checkpoint next time.
"""

import multiprocessing as mp
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from toynet.core.errors import Interrupted, ToyNetError
from toynet.studies.jobs import Answer, Job, Lost, make


@dataclass
class _Worker:
    process: mp.process.BaseProcess
    pipe: Connection
    job: Job | None = None
    ready: bool = False
    """Whether it has come up; one that never does says nothing about its run."""


@dataclass
class LocalEngine:
    """Up to `jobs` processes with `threads` each. To be closed."""

    jobs: int
    threads: int
    retries: int = 1
    """How often a run whose process died is begun again."""

    _workers: list[_Worker] = field(default_factory=list)

    def begin(self, job: Job) -> None:
        """Give the run to a process that is free, or to a new one."""
        worker = next((worker for worker in self._workers if worker.job is None), None) or self._start()
        worker.job = job
        with suppress(OSError):  # a process that has died is found when its answer is due
            worker.pipe.send(job)

    def answers(self) -> Iterator[tuple[Job, Answer]]:
        """The runs that have ended, once there is one; none after half a second.

        Raises `ToyNetError` for a process that cannot start.
        """
        for worker in self._answered():
            try:
                answer = worker.pipe.recv()
                if not worker.ready:
                    worker.ready = True
                    continue
            except (EOFError, OSError):
                answer = Lost(reason=self._bury(worker))
            job, worker.job = worker.job, None
            assert job is not None
            yield job, answer

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
            answer: Any = make(job)
        except Interrupted:
            return
        try:
            pipe.send(answer)
        except BrokenPipeError:  # the study was killed; the run is kept in its folder
            return


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
