"""Goal 5: a small file system that fills up at 50 points of a run, too little room, a disk to be read only.

The file system is a real one, a tmpfs in a mount namespace of its own, so this needs Linux and root, or user
namespaces.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reliability import tiny
from toynet.runs.folder import RunFolder
from toynet.runs.trained import load_model
from toynet.training import checkpoints

COUNT = 50
SHORT = 4
_SIZE_MB = 4
_LONGEST_S = 5.0
_TALLIES = "ended with 1", "room enough", "told needed and free", "last good kept", "same end"
_TOLD = "MB needed", "MB free"


def prove(count: int) -> dict[str, Any]:
    """In a process of its own that may mount."""
    become_root = ["--map-root-user"] if os.getuid() else []
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(
            ["unshare", *become_root, "--mount", sys.executable, __file__, str(count), place],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise RuntimeError(done.stderr)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _prove(count: int, place: Path) -> dict[str, Any]:
    disk = place / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE_MB}m", "none", disk], check=True)
    draw, one = random.Random(5), tiny.recipe()
    about = tiny.images(one)
    with _counted_flushes(None) as flushes:
        tiny.run(place / "calm", one, about)
    expected = tiny.digest(place / "calm")
    tallies = dict.fromkeys(
        ("ended with 1", "room enough", "told needed and free", "last good kept", "same end"), 0
    )
    waits = []
    for number in range(count):
        path, log = disk / f"run{number}", place / f"log{number}"
        at, leave = 4 + (flushes[0] - 4) * number // count, draw.randrange(0, 60_000)
        child = tiny.fork(lambda p=path, g=log, a=at, n=leave: _run_on_full_disk(p, g, one, about, a, n))
        code = tiny.ended(child)
        end = time.monotonic()
        told = log.read_text() if log.exists() else ""
        waits.append(end - float(told.splitlines()[0]))
        tallies["ended with 1"] += code == 1
        tallies["room enough"] += code == 0
        tallies["told needed and free"] += code == 1 and all(word in told for word in _TOLD)
        saved = checkpoints.names(path / "checkpoints")
        good = not saved or checkpoints.load_latest(path / "checkpoints")[2] == []
        tallies["last good kept"] += good
        (disk / "filler").unlink(missing_ok=True)
        tiny.ended(tiny.fork(lambda p=path: tiny.run(p, one, about)))
        tallies["same end"] += tiny.digest(path) == expected
        shutil.rmtree(path)
    refused = _refused_beforehand(disk, place / "log", one, about)
    read_only = _refused_read_only(disk, place, one, about)
    failures = count - tallies["room enough"]
    return {
        "points": count,
        **{key.replace(" ", "_"): value for key, value in tallies.items()},
        "exit_s": {"median": sorted(waits)[count // 2], "most": max(waits)},
        "start_refused_without_room": refused,
        "resume_refused_on_a_read_only_disk": read_only,
        "quota": "not set up here; EDQUOT takes the same way as ENOSPC in toynet/core/disk.py",
        "passed": tallies["ended with 1"] == tallies["told needed and free"] == failures
        and tallies["last good kept"] == tallies["same end"] == count
        and max(waits) <= _LONGEST_S
        and refused
        and read_only,
    }


def _run_on_full_disk(
    path: Path, log: Path, one: tiny.Recipe, about: tiny.Subject, at: int, leave: int
) -> None:
    """The run, on a disk that is filled at its flush number `at` but for `leave` bytes."""
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT), 2)

    def fill() -> None:
        _fill(path.parent, leave)
        os.write(2, f"{time.monotonic()}\n".encode())

    with _counted_flushes(at, fill):
        tiny.run(path, one, about)


@contextmanager
def _counted_flushes(at: int | None, act: Any = None) -> Iterator[list[int]]:
    """Counts calls of fsync, and acts before number `at`."""
    real, count = os.fsync, [0]

    def fsync(handle: int) -> None:
        count[0] += 1
        if count[0] == at:
            act()
        real(handle)

    os.fsync = fsync
    try:
        yield count
    finally:
        os.fsync = real


def _fill(disk: Path, leave: int) -> None:
    size = max(0, shutil.disk_usage(disk).free - leave)
    with (disk / "filler").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, size))


def _refused_beforehand(disk: Path, log: Path, one: tiny.Recipe, about: tiny.Subject) -> bool:
    """Whether a run is refused, and leaves nothing, where two of its checkpoints would find room."""
    size = sum(f.stat().st_size for f in (log.parent / "calm" / "checkpoints" / "epoch-0003").iterdir())
    _fill(disk, 2 * size)
    code = tiny.ended(tiny.fork(lambda: _logged(log, lambda: tiny.run(disk / "never", one, about))))
    (disk / "filler").unlink()
    told, words = log.read_text(), (*_TOLD, "no room for 4 checkpoints")
    return code == 1 and all(word in told for word in words) and not (disk / "never").exists()


def _refused_read_only(disk: Path, place: Path, one: tiny.Recipe, about: tiny.Subject) -> bool:
    """Whether an unfinished run on a read-only disk can be read, and going on is refused in one line."""
    path, log = disk / "still", place / "log-read-only"
    shutil.copytree(place / "calm", path)
    (path / "result.json").unlink()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    load_model(RunFolder(path))
    code = tiny.ended(tiny.fork(lambda: _logged(log, lambda: tiny.run(path, one, about))))
    told = log.read_text().strip()
    return code == 1 and "Read-only file system" in told and "\n" not in told


def _logged(log: Path, work: Any) -> None:
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    work()


if __name__ == "__main__":
    print(json.dumps(_prove(int(sys.argv[1]), Path(sys.argv[2]))))
