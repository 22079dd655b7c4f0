"""Locks between real processes."""

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from toynet.core import locks
from toynet.core.errors import ToyNetError


def _hold(folder: Path, ready, release) -> None:
    with locks.folder_lock(folder):
        ready.set()
        release.wait(60)


def test_a_lock_names_its_owner_and_dies_with_it(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    owner = context.Process(target=_hold, args=(tmp_path, ready, release))
    owner.start()
    assert ready.wait(60)
    with pytest.raises(ToyNetError, match=f"in use by process {owner.pid} on "), locks.folder_lock(tmp_path):
        pass
    assert locks.owner(tmp_path) == (tmp_path / ".lock").read_text()
    assert not locks.was_abandoned(tmp_path)
    os.kill(owner.pid, signal.SIGKILL)
    owner.join()
    assert locks.owner(tmp_path) is None, "who is named there is dead"
    assert locks.was_abandoned(tmp_path)
    with locks.folder_lock(tmp_path):
        assert f"process {os.getpid()} on " in locks.owner(tmp_path)
    assert locks.owner(tmp_path) is None
    assert not locks.was_abandoned(tmp_path)


LOOKER = """
import sys
from pathlib import Path
from toynet.core.locks import is_held
print("looking", flush=True)
while True:
    is_held(Path(sys.argv[1]))
"""


def test_who_only_looks_at_a_lock_keeps_nobody_from_it(tmp_path: Path):
    assert not locks.is_held(tmp_path)
    with locks.folder_lock(tmp_path):
        assert locks.is_held(tmp_path)
    assert not locks.is_held(tmp_path)
    looker = subprocess.Popen([sys.executable, "-c", LOOKER, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert looker.stdout is not None
        looker.stdout.readline()
        for _ in range(200):
            with locks.folder_lock(tmp_path):
                pass
    finally:
        looker.kill()
        looker.wait()
        looker.stdout.close()


def test_a_folder_that_is_renamed_stays_held(tmp_path: Path):
    (tmp_path / "building").mkdir()
    with locks.folder_lock(tmp_path / "building"):
        os.rename(tmp_path / "building", tmp_path / "run")
        with pytest.raises(ToyNetError, match="in use by process"), locks.folder_lock(tmp_path / "run"):
            pass


@pytest.mark.parametrize(
    "text", ["", "process", "process x on y", "process 1 on \udcff", "99 bottles of beer"]
)
def test_odd_owners_are_nobody(tmp_path: Path, text: str):
    (tmp_path / ".lock").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert locks.owner(tmp_path) is None or "process 1 on" in text
