"""Runs on a Ray cluster. Ray only chooses where a run is made; folders, journal and verdicts are the same.

Each run is one task on the CPUs and GPUs that it was promised, in the folder that it would have here: the
study lies on a folder that every node sees. A task that is lost is begun again by `schedule`, not by Ray, and
goes on from that folder's last checkpoint.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from toynet.core.environment import code_fingerprint, usable_cores
from toynet.core.errors import Interrupted, ToyNetError
from toynet.studies import sharing
from toynet.studies.cluster import Cluster, check_answers
from toynet.studies.jobs import Answer, Job, Lost, make
from toynet.studies.ledger import Entry
from toynet.studies.ray_head import Head, keep_out_others, level
from toynet.training import precision

_SAVES_WITHIN_S = 60.0
_SEEN_WITHIN_S = 10.0
"""A file server tells other machines of new files after some seconds."""

_COUNT_EVERY_S = 5.0


class RayEngine:
    """Up to `jobs` runs at once, else as many as the nodes have room for; joins or starts Ray at once.

    Raises `ToyNetError` where Ray is not installed, no cluster answers, or no node has room for a run.
    """

    retries = 3

    def __init__(self, cluster: Cluster, threads: int, jobs: int | None) -> None:
        self._threads, self._jobs = threads, jobs
        gpus = cluster.gpus_per_run
        self._gpus = float(precision.device() == "cuda") if gpus is None else gpus
        self._running: dict[Any, Job] = {}
        self._room, self._counted = 0, 0.0
        self._head: Head | None = None
        self._ray: Any = None
        try:
            self._ray = self._join(cluster)
            if jobs is None and not self._count():
                raise ToyNetError(
                    f"no node of the Ray cluster has {threads} CPUs and {self._gpus:g} GPUs for a run; "
                    "ask for less by --cpus-per-run and --gpus-per-run, or give --jobs N if nodes come later"
                )
        except BaseException:
            self.close()
            raise
        self._task = self._ray.remote(
            num_cpus=threads, num_gpus=self._gpus, max_retries=0, scheduling_strategy="SPREAD"
        )(_work)

    @property
    def jobs(self) -> int:
        if self._jobs is not None:
            return self._jobs
        if time.monotonic() - self._counted > _COUNT_EVERY_S:
            self._room, self._counted = self._count(), time.monotonic()
        return max(1, self._room)

    def begin(self, job: Job) -> None:
        there = job.model_copy(
            update={"path": os.path.abspath(job.path), "images": os.path.abspath(job.images)}
        )
        ref = self._task.remote(there.model_dump_json(), self._threads, code_fingerprint())
        self._running[ref] = job

    def answers(self) -> Iterator[tuple[Job, Answer]]:
        """The runs that have ended, once there is one; none after half a second."""
        refs = list(self._running)
        if not self._ray.wait(refs, timeout=0.5)[0]:
            return
        for ref in self._ray.wait(refs, num_returns=len(refs), timeout=0)[0]:
            yield self._running.pop(ref), self._answer(ref)

    def close(self) -> None:
        """Let all runs save and stop; leave the cluster, and end it where it was started here."""
        if self._ray is not None and self._ray.is_initialized():
            for ref in self._running:
                self._ray.cancel(ref)
            if self._running:
                self._ray.wait(list(self._running), num_returns=len(self._running), timeout=_SAVES_WITHIN_S)
            self._running.clear()
            self._ray.shutdown()
        if self._head is not None:
            self._head.end()

    def _join(self, cluster: Cluster) -> Any:
        """Ray's module, in the cluster that was asked for, else in one of this machine."""
        address = cluster.address or os.environ.get("RAY_ADDRESS")
        if address is None:
            keep_out_others()
        ray = _ray()
        if address is None:
            at_once = self._jobs or max(1, usable_cores() // self._threads)
            self._head = Head(at_once * self._threads, cluster.show_logs)
            address = self._head.address
        else:
            check_answers(address)
        with _own_signals(), _one_line(address):
            shown = cluster.show_logs
            ray.init(address=address, log_to_driver=shown, logging_level=level(shown))
        return ray

    def _count(self) -> int:
        """How many runs the nodes have room for."""
        return sum(self._fits(node["Resources"]) for node in self._ray.nodes() if node["Alive"])

    def _fits(self, resources: dict[str, float]) -> int:
        by_cpu = int(resources.get("CPU", 0) // self._threads)
        return min(by_cpu, int(resources.get("GPU", 0) / self._gpus)) if self._gpus else by_cpu

    def _answer(self, ref: Any) -> Answer:
        errors = self._ray.exceptions
        try:
            told = self._ray.get(ref)
        except errors.RayTaskError as error:
            return ToyNetError(f"a node cannot make runs: {_last_line(error)}; is toynet installed there?")
        except errors.RayError as error:
            return Lost(reason=f"its process or node was lost ({type(error).__name__})")
        kind, value = next(iter(told.items()))
        if kind == "entry":
            return Entry.model_validate(value)
        return Lost(reason=value) if kind == "lost" else ToyNetError(value)


def _work(job_json: str, threads: int, code: str) -> dict[str, Any]:
    """On a node: check that it is fit, make the run, and tell how it ended in plain words and numbers.

    Ray's cancelling is a Ctrl-C in this thread, and what ends a node is a SIGTERM: a run in progress takes
    both as a wish to save and stop.
    """
    node = socket.gethostname()
    if code != code_fingerprint():
        return {
            "error": f"node {node} has {code_fingerprint()}, but this study was planned by {code}; install "
            "the same on every node, then go on with --resume"
        }
    job = Job.model_validate_json(job_json)
    if not _seen(Path(job.images) / sharing.LAST):
        return {
            "error": f"node {node} does not see {Path(job.images).parents[1]}; keep studies on a folder that "
            "all nodes share (TOYNET_STUDIES), then go on with --resume"
        }
    torch.set_num_threads(threads)
    try:
        answer = make(job)
    except Interrupted:
        return {"lost": f"node {node} stopped it"}
    if isinstance(answer, ToyNetError):
        return {"error": f"node {node}: {answer}"}
    return {"entry": answer.model_dump(mode="json")}


def _seen(path: Path) -> bool:
    """Whether `path` is there, or comes within some seconds."""
    deadline = time.monotonic() + _SEEN_WITHIN_S
    while not path.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def _ray() -> Any:
    """The module."""
    try:
        import ray
    except ImportError:
        raise ToyNetError("the engine ray needs Ray: pip install 'toynet-lab[ray]'") from None
    return ray


@contextmanager
def _one_line(address: str) -> Iterator[None]:
    """What Ray says when it cannot be joined, as an error of ours."""
    try:
        yield
    except ToyNetError:
        raise
    except (Exception, SystemExit) as error:
        raise ToyNetError(f"cannot join Ray at {address}: {_last_line(error)}") from error


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself; the study's way of stopping saves the runs first."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
