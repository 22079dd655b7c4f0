"""Goal 9: a study whose driver is killed again and again, its journal torn: nothing is lost or doubled."""

import os
import random
import signal
import tempfile
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest.mock import patch

from reliability.kills import killed_at

from reliability import tiny
from toynet.studies import engine
from toynet.studies.conduct import conduct
from toynet.studies.folder import StudyFolder
from toynet.studies.ledger import TIMED, Entry, Ledger, pack
from toynet.studies.spec import StudySpec

COUNT = 100
SHORT = 2
_RUNS, _IMAGES = 10_000, 5_000
_LONGEST_LOAD_S = 2.0


def spec(seeds: int = 3) -> StudySpec:
    changes = {**tiny.CHANGES, "train.epochs": 2}
    del changes["train.threads"]
    table = {"question": "Does it hurt?", "recipe": "quick", "seeds": seeds, "margin": 0.5, "set": changes}
    return StudySpec.from_table("tiny", {**table, "variant": {"flip": {"augment.flip": "random"}}})


def prove(count: int) -> dict[str, Any]:
    """Kill drivers `count` times over as many studies as that takes; one in three at a journal's write."""
    draw, killed, studies, equal = random.Random(9), 0, 0, 0
    lost = again = doubled = slow_ends = 0
    with tempfile.TemporaryDirectory() as name, forked_workers():
        started = time.monotonic()
        assert tiny.ended(tiny.fork(lambda: conduct(spec(), Path(name) / "calm", jobs=2))) == 0
        length_s, expected = time.monotonic() - started, _entries(Path(name) / "calm")
        while killed < count:
            path = Path(name) / f"study{studies}"
            sealed: dict[str, int] = {}
            for _ in range(draw.randint(1, 5)):
                killed += _kill(path, draw, length_s)
                slow_ends += not _workers_ended(path)
                now = _sealed(path)
                lost += len(sealed.keys() - now.keys())
                again += sum(now[run] != number for run, number in sealed.items() if run in now)
                sealed = now
                _tear(path / "journal.jsonl", draw)
            code = tiny.ended(tiny.fork(lambda path=path: _conduct(path)))
            studies += 1
            equal += code == 0 and _entries(path) == expected
            again += sum(_sealed(path)[run] != number for run, number in sealed.items())
            doubled += len(list((path / "runs").iterdir())) - len(expected)
    load_s = _load_s()
    return {
        "kills": killed,
        "studies": studies,
        "equal_to_undisturbed": equal,
        "finished_runs_lost": lost,
        "finished_runs_made_again": again,
        "runs_too_many": doubled,
        "workers_left_after_10_s": slow_ends,
        "load_10000_runs_s": round(load_s, 2),
        "load_10000_runs_clock": "process time",
        "passed": equal == studies
        and not (lost or again or doubled or slow_ends)
        and load_s <= _LONGEST_LOAD_S,
    }


def _conduct(path: Path) -> None:
    conduct(spec(), path, jobs=2, resume=path.exists() and any(path.glob("*.jsonl")))


def _kill(path: Path, draw: random.Random, length_s: float) -> bool:
    """Whether a driver was killed before it was through."""
    if draw.random() < 1 / 3:
        after = draw.randrange(8)

        def work() -> None:
            with killed_at("journal", after):
                _conduct(path)

        return tiny.ended(tiny.fork(work)) == -signal.SIGKILL
    child = tiny.fork(lambda: _conduct(path))
    time.sleep(draw.uniform(0, length_s))
    os.kill(child, signal.SIGKILL)
    return tiny.ended(child) == -signal.SIGKILL


def _workers_ended(path: Path, within_s: float = 10.0) -> bool:
    """Whether the killed driver's workers go by themselves: no run's folder is held any more."""
    deadline = time.monotonic() + within_s
    while any(_is_held(lock) for lock in path.glob("runs/*/.lock")):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _is_held(lock: Path) -> bool:
    with suppress(OSError, ValueError, IndexError):
        os.kill(int(lock.read_text().split()[1]), 0)
        return True
    return False


def _sealed(path: Path) -> dict[str, int]:
    return {file.parent.name: file.stat().st_ino for file in path.glob("runs/*/result.json")}


def _tear(journal: Path, draw: random.Random) -> None:
    """Half the time, leave a line that a power cut cut off, or the last line twice."""
    if not journal.exists() or draw.random() < 0.5:
        return
    content = journal.read_bytes()
    last = content[content.rfind(b"\n", 0, -1) + 1 :]
    journal.write_bytes(content + draw.choice([last[: len(last) // 2], last]))


def _entries(path: Path) -> dict[tuple[str, int], dict[str, Any]]:
    return {key: entry.model_dump(exclude=TIMED) for key, entry in StudyFolder(path).ledger.entries().items()}


def _load_s() -> float:
    """Seconds to read a journal of 10,000 runs with 5,000 validation images each."""
    import numpy as np

    correct = pack(np.random.default_rng(0).random(_IMAGES) < 0.9)
    entry = Entry(
        arm="control", seed=3, outcome="finished", val_accuracy=0.5, correct=correct, images=_IMAGES
    )
    text = entry.model_dump_json()
    with tempfile.TemporaryDirectory() as name:
        ledger = Ledger(Path(name))
        with ledger.path.open("w") as file:
            for seed in range(_RUNS):
                rest = '"run":' + text.replace('"seed":3', f'"seed":{seed}') + "}\n"
                file.write(f'{{"crc":"{zlib.crc32(rest.encode()):08x}",{rest}')
        started = time.process_time()
        assert len(ledger.entries()) == _RUNS
        return time.process_time() - started


def forked_workers() -> Any:
    """Workers that are forked, so that torch is loaded once; of the driver's they keep their pipe only."""
    real, work = engine.mp.get_context, engine._work

    def alone(pipe: Connection, threads: int) -> None:
        for handle in map(int, os.listdir("/proc/self/fd")):
            if handle > 2 and handle != pipe.fileno():
                with suppress(OSError):
                    os.close(handle)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        work(pipe, threads)

    context: Callable[[str], Any] = lambda kind: real("fork")  # noqa: E731
    return patch.multiple(engine, _work=alone, mp=_Forking(context))


class _Forking:
    """What the engine takes of `multiprocessing`."""

    def __init__(self, get_context: Callable[[str], Any]) -> None:
        self.get_context = get_context
