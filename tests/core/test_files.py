import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from toynet.core import files
from toynet.core.errors import ToyNetError


def test_a_failed_write_leaves_the_old_content_and_no_litter(tmp_path: Path):
    target = tmp_path / "a.json"
    files.write_atomic(target, "old")

    def breaks(file):
        file.write(b"half")
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        files.write_atomic_with(target, breaks)
    assert target.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_written_files_follow_the_umask(tmp_path: Path):
    before = os.umask(0o027)
    try:
        files.write_atomic(tmp_path / "a", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_torn_last_line_is_left_out_and_a_torn_middle_line_is_an_error(tmp_path: Path):
    path = tmp_path / "m.jsonl"
    files.append_json_line(path, {"epoch": 1})
    files.append_json_line(path, {"epoch": 2})
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"epoch":')
    assert [line["epoch"] for line in files.read_json_lines(path)] == [1, 2]
    path.write_bytes(b'{"epo\n' + whole)
    with pytest.raises(ToyNetError, match="line 1 is damaged"):
        files.read_json_lines(path)


def test_a_torn_line_does_not_spoil_what_is_appended_later(tmp_path: Path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"epoch":1}\n{"epo')
    files.append_json_line(path, {"epoch": 2})
    assert [line["epoch"] for line in files.read_json_lines(path)] == [1, 2]
    path.write_bytes(b'{"ep')
    files.append_json_line(path, {"epoch": 3})
    assert [line["epoch"] for line in files.read_json_lines(path)] == [3]


def _hold(folder: Path, ready, release) -> None:
    with files.folder_lock(folder):
        ready.set()
        release.wait(30)


def test_a_lock_names_its_owner_and_dies_with_it(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    owner = context.Process(target=_hold, args=(tmp_path, ready, release))
    owner.start()
    assert ready.wait(30)
    with pytest.raises(ToyNetError, match=f"in use by process {owner.pid} on "), files.folder_lock(tmp_path):
        pass
    os.kill(owner.pid, signal.SIGKILL)
    owner.join()
    with files.folder_lock(tmp_path):
        pass


LOOKER = """
import sys
from pathlib import Path
from toynet.core.files import is_held
print("looking", flush=True)
while True:
    is_held(Path(sys.argv[1]))
"""


def test_who_only_looks_at_a_lock_keeps_nobody_from_it(tmp_path: Path):
    assert not files.is_held(tmp_path)
    with files.folder_lock(tmp_path):
        assert files.is_held(tmp_path)
    assert not files.is_held(tmp_path)
    looker = subprocess.Popen([sys.executable, "-c", LOOKER, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert looker.stdout is not None
        looker.stdout.readline()
        for _ in range(200):
            with files.folder_lock(tmp_path):
                pass
    finally:
        looker.kill()
        looker.wait()
        looker.stdout.close()
