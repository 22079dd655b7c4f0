"""What the process keeps of the machine's memory."""

import ctypes
import math
import mmap
import os
import resource
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Names of glibc's `mallopt(3)`."""

_NEVER = 2**31 - 1
_BLOCK_SIZES = 2**30, 2**25
"""Bytes from which on a freed block goes back to the kernel; an older glibc takes 2^25 at most (man page)."""

_LARGE_PAGED = 3 * 2**29
"""Bytes of memory to come for which large pages are asked. Of 2^31 glibc would give back what is free."""

_PAGE_SIZE, _LARGEST_PAGE = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size"), 2**22
"""Of large pages, in bytes; those of some ARM systems are so large that most of each would be wasted."""

_MEMINFO, _GROUPS, _GROUP_FILES = Path("/proc/meminfo"), Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")

_keeping = False
"""Whether this process keeps freed memory: what is trimmed loses its large pages, and is asked for again."""


def keep_freed_memory() -> bool:
    """Keep the pages of freed blocks for the next ones, for the rest of the process; whether that was done.

    A training step frees its tensors and asks for the same sizes again. glibc gives large blocks back to the
    kernel at once, which then has to clear each of their pages anew; on tensors of tens of MiB that took
    longer than the arithmetic. What is kept lies on large pages where the system has them, as looking up
    small ones takes time too. Other C libraries are left as they are.
    """
    global _keeping
    library = _glibc()
    if library is None or not library.mallopt(_TRIM_THRESHOLD, _NEVER):
        return False
    size = next((size for size in _BLOCK_SIZES if library.mallopt(_MMAP_THRESHOLD, size)), None)
    if size is None:
        return False
    _ask_for_large_pages(library, size // 2)
    _keeping = True
    return True


def _ask_for_large_pages(library: ctypes.CDLL, block: int) -> None:
    """For memory that will be allocated: it is taken in blocks of so many bytes, untouched, and freed."""
    try:
        if int(_PAGE_SIZE.read_text()) > _LARGEST_PAGE:
            return
    except (OSError, ValueError):
        return
    library.malloc.argtypes, library.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    addresses = [library.malloc(block) for _ in range(_LARGE_PAGED // block)]
    for address in filter(None, addresses):
        _advise(address, block, mmap.MADV_HUGEPAGE)
        library.free(ctypes.c_void_p(address))


def forget_peak() -> None:
    """Give unused pages back and let `peak_resident_mib` count anew, where the system can do that."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)
    if _keeping:
        keep_freed_memory()
    try:
        _CLEAR.write_text("5")
    except OSError:
        return


def peak_resident_mib() -> float:
    """The most memory that the process has occupied since `forget_peak`, else since its start."""
    try:
        lines = _STATUS.read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def available_bytes() -> float:
    """What the machine has free, and no more than all that the process's control groups allow.

    Pages of files count as free, for the system takes them back. Infinite where nothing is told.
    """
    try:
        lines = _MEMINFO.read_text().splitlines()
        free = next(int(line.split()[1]) * 1024.0 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        free = math.inf
    return min(free, *_group_limits(), math.inf)


def read_singly(address: int, size: int) -> None:
    """Of `size` bytes from `address` on, mapped from a file, have the system read what is asked for only.

    Else it reads up to megabytes around each page that is touched (madvise(2)).
    """
    if hasattr(mmap, "MADV_RANDOM"):
        _advise(address, size, mmap.MADV_RANDOM)


def will_need(address: int, offsets: Iterable[int], size: int) -> None:
    """Ask the system to read `size` bytes at each of `offsets` from `address` on, where a file is mapped.

    Returns before they are read (madvise(2)). Where the system does not do that, nothing happens.
    """
    if hasattr(mmap, "MADV_WILLNEED"):
        for offset in offsets:
            _advise(address + offset, size, mmap.MADV_WILLNEED)


def _advise(address: int, size: int, advice: int) -> None:
    start = address // mmap.PAGESIZE * mmap.PAGESIZE
    ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(address + size - start), advice)


def _group_limits() -> Iterator[float]:
    """Bytes that the process's control groups may take, by the kernel's older and newer interface."""
    try:
        lines = _GROUPS.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        mount, name = (
            (_GROUP_FILES / "memory", "memory.limit_in_bytes") if kinds else (_GROUP_FILES, "memory.max")
        )
        inside = mount / path.lstrip("/")
        for folder in (inside, *inside.parents):
            with suppress(OSError, ValueError):  # "max", or a group that is not to be seen from in here
                yield float(int((folder / name).read_text()))
            if folder == mount:
                break


def _glibc() -> ctypes.CDLL | None:
    """The running C library, if it is glibc: others number the options of `mallopt` differently."""
    try:
        if not (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc"):
            return None
    except (AttributeError, ValueError, OSError):
        return None
    return ctypes.CDLL(None)
