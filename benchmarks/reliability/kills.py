"""Goal 1: kill -9 at random moments of a run, inside saves, journal writes and the start among them."""

import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reliability import tiny
from toynet.core.errors import CheckpointError
from toynet.training import checkpoints

PLACES = "anywhere", "save", "journal", "start-up"
_WEIGHTS = 40, 30, 15, 15
COUNT = 200
SHORT = 8


def prove(count: int) -> dict[str, Any]:
    """Kill runs `count` times in all, most of them several times; compare each with an undisturbed one."""
    draw, one = random.Random(1), tiny.recipe()
    about = tiny.images(one)
    kills: Counter[str] = Counter()
    runs = equal = unattended = lost = 0
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        started = time.monotonic()
        assert tiny.ended(tiny.fork(lambda: tiny.run(place / "calm", one, about))) == 0
        length_s, expected = time.monotonic() - started, tiny.digest(place / "calm")
        while kills.total() < count:
            path = place / f"run{runs}"
            for _ in range(draw.randint(1, 6)):
                where = draw.choices(PLACES, _WEIGHTS)[0]
                saved = _names(path)
                if _kill(where, path, draw, length_s, lambda path=path: tiny.run(path, one, about)):
                    kills[where] += 1
                lost += _lost(path, saved)
                if (path / "result.json").exists():
                    break
            code = tiny.ended(tiny.fork(lambda path=path: tiny.run(path, one, about)))
            runs += 1
            unattended += code == 0
            equal += code == 0 and tiny.digest(path) == expected
            shutil.rmtree(path, ignore_errors=True)
    return {
        "kills": kills.total(),
        "kills_by_place": dict(kills),
        "runs": runs,
        "restarted_unattended": unattended,
        "identical_to_undisturbed": equal,
        "finished_checkpoints_lost": lost,
        "passed": runs == unattended == equal and not lost,
    }


def _kill(where: str, path: Path, draw: random.Random, length_s: float, work: Callable[[], None]) -> bool:
    """Whether the child was killed before it was through."""
    if where == "anywhere":
        child = tiny.fork(work)
        time.sleep(draw.uniform(0, 0.7 * length_s))
        os.kill(child, signal.SIGKILL)
    else:
        place = {"save": "checkpoints", "journal": "metrics", "start-up": ""}[where]
        after = draw.randrange(6 if where == "start-up" else 25 if where == "save" else 2)
        child = tiny.fork(lambda: _killing_itself(place, after, work))
    return tiny.ended(child) == -signal.SIGKILL


def _killing_itself(place: str, after: int, work: Callable[[], None]) -> None:
    with killed_at(place, after):
        work()


@contextmanager
def killed_at(place: str, after: int) -> Iterator[None]:
    """SIGKILL to this process at its flush, rename or removal number `after` of a path that names `place`."""
    left = [after]

    def watched(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(target: Any, *rest: Any, **options: Any) -> Any:
            known = os.readlink(f"/proc/self/fd/{target}") if isinstance(target, int) else os.fspath(target)
            if place in str(known):
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
            return real(target, *rest, **options)

        return call

    real = os.fsync, os.rename, os.replace, os.rmdir
    os.fsync, os.rename, os.replace, os.rmdir = map(watched, real)
    try:
        yield
    finally:
        os.fsync, os.rename, os.replace, os.rmdir = real


def _names(path: Path) -> list[str]:
    return checkpoints.names(path / "checkpoints")


def _lost(path: Path, saved: list[str]) -> int:
    """1 where the newest checkpoint that was there cannot be gone on from any more."""
    if not saved:
        return 0
    try:
        state = checkpoints.load_latest(path / "checkpoints")[1]
    except CheckpointError:
        return 1
    return int((state.epoch, state.batch) < _place(saved[-1]))


def _place(name: str) -> tuple[int, int]:
    epoch, _, batch = name.removeprefix("epoch-").partition("-batch-")
    return int(epoch), int(batch or 0)
