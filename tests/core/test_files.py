import os
import resource
import signal
from contextlib import suppress
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


def test_a_whole_last_line_that_lacks_its_end_is_kept(tmp_path: Path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"epoch":1}\n{"epoch":2}')
    assert [line["epoch"] for line in files.read_json_lines(path)] == [1, 2]
    files.append_json_line(path, {"epoch": 3}, checked=True)
    assert [line["epoch"] for line in files.read_json_lines(path)] == [1, 2, 3]


def test_any_flipped_bit_of_a_checked_line_is_noticed(tmp_path: Path):
    path = tmp_path / "j.jsonl"
    files.append_json_line(path, {"run": {"seed": 1, "accuracy": 0.5}}, checked=True)
    files.append_json_line(path, {"run": {"seed": 2, "accuracy": 0.25}}, checked=True)
    whole = path.read_bytes()
    good = files.read_json_lines(path)
    assert good == [{"run": {"seed": 1, "accuracy": 0.5}}, {"run": {"seed": 2, "accuracy": 0.25}}]
    length = whole.index(b"\n")
    for bit in range(8 * length):
        altered = bytearray(whole)
        altered[bit // 8] ^= 1 << bit % 8
        path.write_bytes(altered)
        if bit // 8 not in range(2, 5):
            with pytest.raises(ToyNetError, match="line 1 is damaged"):
                files.read_json_lines(path)
            continue
        with suppress(ToyNetError):  # an altered "crc" that is text still is a key that no reader knows
            assert files.read_json_lines(path)[0].keys() != {"run"}


def test_a_refused_append_leaves_the_file_as_it_was(tmp_path: Path):
    path = tmp_path / "m.jsonl"
    files.append_json_line(path, {"epoch": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 5, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            files.append_json_line(path, {"epoch": 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == b'{"epoch":1}\n'


def test_folders_are_made_once_and_all_the_way(tmp_path: Path):
    files.make_folder(tmp_path / "a" / "b")
    files.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
