"""Hostile, truncated and altered archives: refused by name, nothing outside, nothing left behind."""

import gzip
import io
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from toynet.core.errors import DataError
from toynet.data.archives import unpack

SIZES = {"one.bin": 50_000, "two.bin": 50_000}
CONTENT = {name: random.Random(name).randbytes(40_000) for name in SIZES}


def add(tar: tarfile.TarFile, name: str, content: bytes = b"", **fields: object) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for key, value in fields.items():
        setattr(member, key, value)
    tar.addfile(member, io.BytesIO(content))


def build(
    path: Path, hostile: Callable[[tarfile.TarFile], None] | None = None, *, first: bool = False
) -> Path:
    """An archive with the expected files, and what `hostile` adds before or after them."""
    with tarfile.open(path, "w:gz") as tar:
        add(tar, "set", type=tarfile.DIRTYPE)
        if hostile and first:
            hostile(tar)
        for name, content in CONTENT.items():
            add(tar, f"set/{name}", content)
        if hostile and not first:
            hostile(tar)
    return path


@pytest.fixture
def room(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def everything(path: Path) -> set[str]:
    return {str(entry.relative_to(path)) for entry in path.rglob("*")}


def test_the_expected_files_are_unpacked(tmp_path: Path, room: Path) -> None:
    folder = unpack(build(tmp_path / "a.tar.gz"), room, "set", SIZES)
    assert folder == room / "set"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT
    assert everything(room) == {"set", "set/one.bin", "set/two.bin"}
    assert folder.stat().st_mode & 0o055, "others may read it, as the umask allows"


def test_other_plain_files_stay_in_the_archive(tmp_path: Path, room: Path) -> None:
    archive = build(tmp_path / "a.tar.gz", lambda tar: add(tar, "set/readme.html", b"hello"), first=True)
    unpack(archive, room, "set", SIZES)
    assert everything(room) == {"set", "set/one.bin", "set/two.bin"}


def test_rest_of_a_killed_attempt_is_no_hindrance(tmp_path: Path, room: Path) -> None:
    (room / ".set.unpacking").mkdir()
    (room / ".set.unpacking" / "one.bin").write_bytes(b"half")
    unpack(build(tmp_path / "a.tar.gz"), room, "set", SIZES)
    assert everything(room) == {"set", "set/one.bin", "set/two.bin"}


HOSTILE: dict[str, Callable[[tarfile.TarFile], None]] = {
    "parent": lambda tar: add(tar, "../out.bin", b"x"),
    "parent within": lambda tar: add(tar, "set/../../out.bin", b"x"),
    "parent name": lambda tar: add(tar, "set/..", b"x"),
    "absolute": lambda tar: add(tar, "/tmp/toynet-out.bin", b"x"),
    "absolute expected": lambda tar: add(tar, "/set/one.bin", b"x"),
    "other folder": lambda tar: add(tar, "other/one.bin", b"x"),
    "no folder": lambda tar: add(tar, "one.bin", b"x"),
    "deeper": lambda tar: add(tar, "set/deep/one.bin", b"x"),
    "other directory": lambda tar: add(tar, "set/deep", type=tarfile.DIRTYPE),
    "directory as file": lambda tar: add(tar, "set/one.bin", type=tarfile.DIRTYPE),
    "empty name": lambda tar: add(tar, "set//one.bin", b"x"),
    "symbolic link": lambda tar: add(tar, "set/one.bin", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "link to parent": lambda tar: add(tar, "set", type=tarfile.SYMTYPE, linkname=".."),
    "hard link": lambda tar: add(tar, "set/link", type=tarfile.LNKTYPE, linkname="set/one.bin"),
    "hard link out": lambda tar: add(tar, "set/one.bin", type=tarfile.LNKTYPE, linkname="/etc/passwd"),
    "device": lambda tar: add(tar, "set/one.bin", type=tarfile.CHRTYPE, devmajor=1, devminor=5),
    "block device": lambda tar: add(tar, "set/one.bin", type=tarfile.BLKTYPE),
    "pipe": lambda tar: add(tar, "set/one.bin", type=tarfile.FIFOTYPE),
    "contiguous": lambda tar: add(tar, "set/one.bin", b"x", type=tarfile.CONTTYPE),
    "unknown type": lambda tar: add(tar, "set/one.bin", b"x", type=b"Z"),
    "sparse": lambda tar: add(tar, "set/x", pax_headers={"GNU.sparse.map": "0,1", "GNU.sparse.size": "9"}),
    "twice": lambda tar: add(tar, "set/one.bin", b"x"),
    "too big": lambda tar: add(tar, "set/one.bin", bytes(50_001)),
    "big extra": lambda tar: add(tar, "set/extra.bin", bytes(2_000_000)),
    "many members": lambda tar: [add(tar, f"set/{number}.txt") for number in range(2_300)] and None,
    "long name": lambda tar: add(tar, "set/" + "a" * 2_000_000, b"x"),
}


@pytest.mark.parametrize(("kind", "first"), [(kind, first) for kind in HOSTILE for first in (True, False)])
def test_hostile_members_refuse_the_whole(tmp_path: Path, room: Path, kind: str, first: bool) -> None:
    archive = build(tmp_path / "a.tar.gz", HOSTILE[kind], first=first)
    with pytest.raises(DataError, match=r"a\.tar\.gz is (refused|damaged)") as caught:
        unpack(archive, room, "set", SIZES)
    assert "\n" not in str(caught.value)
    assert everything(tmp_path) == {"a.tar.gz", "root"}
    assert not Path("/tmp/toynet-out.bin").exists()


def test_gigabytes_of_zeros_are_not_read(tmp_path: Path, room: Path) -> None:
    archive = tmp_path / "a.tar.gz"
    member = tarfile.TarInfo("set/extra.bin")
    member.size = 10 << 30
    block = gzip.compress(bytes(16 << 20), 1)
    archive.write_bytes(gzip.compress(member.tobuf()) + block * 40)
    with pytest.raises(DataError, match="more bytes"):  # read to its end, it would break off instead
        unpack(archive, room, "set", SIZES)
    assert everything(room) == set()


def test_truncation_is_always_noticed(tmp_path: Path, room: Path) -> None:
    whole = build(tmp_path / "whole.tar.gz").read_bytes()
    archive = tmp_path / "a.tar.gz"
    for size in [0, 1, 10, 100, *range(2_000, len(whole), len(whole) // 20), len(whole) - 8, len(whole) - 1]:
        archive.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"a\.tar\.gz is (damaged|incomplete)"):
            unpack(archive, room, "set", SIZES)
        assert everything(room) == set()


def test_an_altered_byte_is_always_noticed(tmp_path: Path, room: Path) -> None:
    whole = build(tmp_path / "whole.tar.gz").read_bytes()
    archive = tmp_path / "a.tar.gz"
    draw = random.Random(3)
    for place in [*(draw.randrange(30, len(whole)) for _ in range(60)), len(whole) - 6]:
        altered = bytearray(whole)
        altered[place] ^= 1 << draw.randrange(8)
        archive.write_bytes(altered)
        with pytest.raises(DataError, match=r"a\.tar\.gz"):
            unpack(archive, room, "set", SIZES)
        assert everything(room) == set()


@pytest.mark.parametrize("content", [b"no archive at all", gzip.compress(b"no tar" * 1_000, mtime=0), b""])
def test_what_is_no_archive_is_named(tmp_path: Path, room: Path, content: bytes) -> None:
    (tmp_path / "a.tar.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.tar\.gz is (damaged|incomplete)"):
        unpack(tmp_path / "a.tar.gz", room, "set", SIZES)


def test_a_missing_file_is_named(tmp_path: Path, room: Path) -> None:
    with pytest.raises(DataError, match=r"set/three\.bin is not in it"):
        unpack(build(tmp_path / "a.tar.gz"), room, "set", {**SIZES, "three.bin": 10})
    assert everything(room) == set()


def test_an_error_of_the_disk_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot unpack"):
        unpack(build(tmp_path / "a.tar.gz"), tmp_path / "missing", "set", SIZES)
