"""Many image files decoded into one file of pixels, by several processes.

Processes, not threads: a small image takes longer in Python than in Pillow's C, and Python holds threads up
(two threads are slower than one there, two processes nearly twice as fast; docs/own-data.md). Each is a
plain child that reads jobs from its standard input and ends when that does: a parent that was killed leaves
none behind, and a caller's own script needs no guard. Fewer files than a child's start is worth are decoded
here, by threads.
"""

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from toynet.core.environment import usable_cores
from toynet.core.errors import DataError
from toynet.core.reporter import Reporter
from toynet.data.pixels import read_pixels

_JOB_FILES, _FEW_JOB_FILES, _FEW_FILES = 64, 8, 1024
_SHOWN_FAULTS = 5


@dataclass(frozen=True)
class Job:
    """Decode `paths` to `size` x `size` RGB and write them into the file `target` from byte `offset` on."""

    paths: list[str]
    size: int
    target: str
    offset: int


@dataclass(frozen=True)
class Done:
    """How a job went: what could not be read, whether any pixel has a colour, why writing failed."""

    faults: list[str]
    colour: bool
    failed: str | None = None


def decode_files(
    paths: Iterable[str], count: int, size: int, target: Path, offset: int, reporter: Reporter
) -> bool:
    """Write `count` images (N, size, size, 3) into `target`, from byte `offset` on; whether any has a colour.

    Raises `DataError` with the disk's error, or naming up to five files that cannot be used and their number.
    """
    reporter.begin("decode images", count, "images")
    few = count < _FEW_FILES
    jobs = _jobs(paths, size, target, offset, _FEW_JOB_FILES if few else _JOB_FILES)
    faults: list[str] = []
    colour = False
    for files, done in (_by_threads if few else _by_processes)(jobs, usable_cores()):
        if done.failed:
            raise DataError(f"cannot write {target}: {done.failed}")
        faults += done.faults
        colour |= done.colour
        reporter.advance(files)
    if faults:
        more = "; ..." if len(faults) > _SHOWN_FAULTS else ""
        shown = "; ".join(sorted(faults)[:_SHOWN_FAULTS]) + more
        raise DataError(f"{len(faults)} of {count} files cannot be used: {shown}")
    return colour


def run_job(job: Job) -> Done:
    """Do `job` in this process."""
    images = np.zeros((len(job.paths), job.size, job.size, 3), np.uint8)
    faults = []
    for image, path in zip(images, job.paths, strict=True):
        try:
            image[:] = read_pixels(Path(path), job.size)
        except DataError as error:
            faults.append(f"{path if path.isprintable() else ascii(path)} ({error})")
    colour = bool((images != images[..., :1]).any())
    try:
        _write(job.target, images, job.offset)
    except OSError as error:
        return Done(faults, colour, error.strerror or str(error))
    return Done(faults, colour)


def _write(target: str, images: NDArray[np.uint8], offset: int) -> None:
    # Not through a mapping: a full disk would end the process there, without an error to report.
    with open(target, "r+b", buffering=0) as file:
        view = images.reshape(-1).data
        while view:
            written = os.pwrite(file.fileno(), view, offset)
            view, offset = view[written:], offset + written


def _jobs(paths: Iterable[str], size: int, target: Path, offset: int, each: int) -> Iterator[Job]:
    remaining = iter(paths)
    while some := list(islice(remaining, each)):
        yield Job(some, size, str(target), offset)
        offset += len(some) * size * size * 3


def _by_threads(jobs: Iterator[Job], cores: int) -> Iterator[tuple[int, Done]]:
    with ThreadPoolExecutor(cores) as pool:
        yield from _in_order(pool, run_job, jobs, 4 * cores)


def _by_processes(jobs: Iterator[Job], cores: int) -> Iterator[tuple[int, Done]]:
    # The children end before the threads that talk to them, which then have nothing to wait for.
    with ThreadPoolExecutor(cores) as pool, _children(cores) as idle:
        yield from _in_order(pool, partial(_hand_over, idle), jobs, 4 * cores)


def _in_order(
    pool: ThreadPoolExecutor, work: Callable[[Job], Done], jobs: Iterator[Job], ahead: int
) -> Iterator[tuple[int, Done]]:
    """How many files each job had, and how it went; no more than `ahead` jobs are made before their turn."""
    pending: deque[tuple[int, Future[Done]]] = deque()
    for job in jobs:
        pending.append((len(job.paths), pool.submit(work, job)))
        if len(pending) == ahead:
            files, future = pending.popleft()
            yield files, future.result()
    for files, future in pending:
        yield files, future.result()


Child = subprocess.Popen[str]


@contextmanager
def _children(count: int) -> Iterator["SimpleQueue[Child]"]:
    """Waiting children, which end with the context."""
    # The child's modules come from where this process' do, and never from the working folder (-P).
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-P", "-m", "toynet.data.decoder"]
    children: list[Child] = []
    idle: SimpleQueue[Child] = SimpleQueue()
    try:
        for _ in range(count):
            child = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
            )
            children.append(child)
            idle.put(child)
        yield idle
    finally:
        for child in children:
            child.kill()
            with suppress(OSError):
                child.communicate()


def _hand_over(idle: "SimpleQueue[Child]", job: Job) -> Done:
    child = idle.get()
    try:
        assert child.stdin
        assert child.stdout
        child.stdin.write(json.dumps(asdict(job)) + "\n")
        child.stdin.flush()
        answer = child.stdout.readline()
    except OSError:
        answer = ""
    finally:
        idle.put(child)
    if not answer.endswith("\n"):
        raise DataError(
            f"a decoding process ended in {job.paths[0]} or one of the {len(job.paths) - 1} files after it"
        )
    return Done(**json.loads(answer))
