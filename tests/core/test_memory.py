import ctypes
import math
import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from toynet.core import memory

MIB = 2**20
LARGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
ON_GLIBC = "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", {})

PAGE_FAULTS = """
import resource, sys
from toynet.core.memory import keep_freed_memory
if sys.argv[1] == "kept":
    assert keep_freed_memory() and keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    bytearray(40 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how: str) -> int:
    command = [sys.executable, "-c", PAGE_FAULTS, how]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not ON_GLIBC, reason="another C library than glibc")
def test_large_blocks_are_faulted_in_once_and_kept():
    assert page_faults("kept") * 4 < page_faults("not kept")


ON_LARGE_PAGES = """
import sys
from pathlib import Path
from toynet.core import memory
if sys.argv[1] != "not kept":
    assert memory.keep_freed_memory()
if sys.argv[1] == "forgotten":
    memory.forget_peak()
held = bytearray(64 << 20)
lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("AnonHugePages")))
"""


def kib_on_large_pages(how: str) -> int:
    command = [sys.executable, "-c", ON_LARGE_PAGES, how]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(
    not LARGE_PAGES.exists() or "[madvise]" not in LARGE_PAGES.read_text(),
    reason="the system has no large pages, or gives them unasked",
)
@pytest.mark.parametrize("how", ["kept", "forgotten"])
def test_what_is_kept_lies_on_large_pages(how: str):
    assert kib_on_large_pages(how) >= 48 * 1024 > kib_on_large_pages("not kept")


class Older:
    """The C library before 2.35, which refuses a large threshold."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.malloc = self.Full()

    class Full:
        """Has no memory left."""

        def __call__(self, size: int) -> None:
            return None

    def mallopt(self, name: int, value: int) -> int:
        self.asked.append((name, value))
        return int(name == -1 or value <= 2**25)


def test_an_older_library_gets_what_it_takes(monkeypatch: pytest.MonkeyPatch):
    library = Older()
    monkeypatch.setattr(memory, "_glibc", lambda: library)
    assert memory.keep_freed_memory()
    assert library.asked == [(-1, 2**31 - 1), (-3, 2**30), (-3, 2**25)]


def test_other_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "confstr", lambda name: None)
    monkeypatch.setattr(ctypes, "CDLL", None)
    assert not memory.keep_freed_memory()
    memory.forget_peak()


def test_the_peak_follows_what_is_held_and_can_be_forgotten():
    memory.forget_peak()
    before = memory.peak_resident_mib()
    held = bytearray(200 << 20)
    assert 190 < memory.peak_resident_mib() - before < 250
    del held


def test_without_linux_the_peak_is_the_processs(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "gone")
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "no" / "gone")
    memory.forget_peak()
    assert memory.peak_resident_mib() > 10


def resident(address: int, size: int) -> list[bool]:
    """For each page of a mapping, whether it lies in memory (mincore(2))."""
    pages = (ctypes.c_ubyte * (size // mmap.PAGESIZE))()
    assert ctypes.CDLL(None).mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), pages) == 0
    return [bool(page & 1) for page in pages]


def mapped_from_disk(folder: Path) -> tuple[mmap.mmap, int]:
    """8 MiB of a file, none of it in memory, and its address."""
    with (folder / "file").open("wb+") as file:
        file.write(os.urandom(8 * MIB))
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        mapped = mmap.mmap(file.fileno(), 8 * MIB, access=mmap.ACCESS_COPY)
    address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
    if any(resident(address, 8 * MIB)):
        pytest.skip("this file system keeps files in memory")
    return mapped, address


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what it keeps of a file")
def test_what_will_be_needed_is_read_from_the_disk_and_no_more(tmp_path: Path):
    _mapped, address = mapped_from_disk(tmp_path)
    offsets = [100, 3 * MIB + 5000, 7 * MIB - 1]
    memory.will_need(address, offsets, 3000)
    wanted = {page for at in offsets for page in range(at // mmap.PAGESIZE, (at + 2999) // mmap.PAGESIZE + 1)}
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        there = {page for page, is_there in enumerate(resident(address, 8 * MIB)) if is_there}
        if wanted <= there:
            break
    assert wanted <= there
    assert len(there) < 8 * MIB // mmap.PAGESIZE / 4


def test_what_is_available_is_at_most_what_a_control_group_allows(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "_GROUP_FILES", tmp_path / "groups")
    assert memory.available_bytes() == math.inf
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable: 4000 kB\n")
    assert memory.available_bytes() == 4000 * 1024
    (tmp_path / "cgroup").write_text("4:cpu,memory:/outer/inner\n3:cpuset:/x\n0::/new\n")
    for folder, name, limit in (
        ("memory/outer/inner", "memory.limit_in_bytes", "3000"),
        ("memory/outer", "memory.limit_in_bytes", "2000"),
        ("memory", "memory.limit_in_bytes", "9223372036854771712"),
        ("cpuset/x", "memory.limit_in_bytes", "1"),
        ("new", "memory.max", "max"),
    ):
        (tmp_path / "groups" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / folder / name).write_text(limit + "\n")
    assert memory.available_bytes() == 2000
    (tmp_path / "groups" / "new" / "memory.max").write_text("1500\n")
    assert memory.available_bytes() == 1500


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells what it keeps of a file")
def test_a_page_is_read_alone_where_that_is_asked_for(tmp_path: Path):
    mapped, address = mapped_from_disk(tmp_path)
    memory.read_singly(address + 128, 8 * MIB - 128)
    assert mapped[3 * MIB + 5] is not None
    assert sum(resident(address, 8 * MIB)) == 1
    mapped.madvise(mmap.MADV_NORMAL)
    assert mapped[5 * MIB + 5] is not None
    assert sum(resident(address, 8 * MIB)) > 2, "else the test above says nothing"
