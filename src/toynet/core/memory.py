"""What the process keeps of the machine's memory."""

import ctypes
import mmap
import os
import resource
import sys
from collections.abc import Iterable
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Names of glibc's `mallopt(3)`."""

_NEVER = 2**31 - 1
_BLOCK_SIZES = 2**30, 2**25
"""Bytes from which on a freed block goes back to the kernel; an older glibc takes 2^25 at most (man page)."""

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def keep_freed_memory() -> bool:
    """Keep the pages of freed blocks for the next ones, for the rest of the process; whether that was done.

    A training step frees its tensors and asks for the same sizes again. glibc gives large blocks back to the
    kernel at once, which then has to clear each of their pages anew; on tensors of tens of MiB that took
    longer than the arithmetic. Other C libraries are left as they are.
    """
    library = _glibc()
    if library is None:
        return False
    kept = bool(library.mallopt(_TRIM_THRESHOLD, _NEVER))
    return kept and any(library.mallopt(_MMAP_THRESHOLD, size) for size in _BLOCK_SIZES)


def forget_peak() -> None:
    """Give unused pages back and let `peak_resident_mib` count anew, where the system can do that."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)
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


def will_need(address: int, offsets: Iterable[int], size: int) -> None:
    """Ask the system to read `size` bytes at each of `offsets` from `address` on, where a file is mapped.

    Returns before they are read (madvise(2)). Where the system does not do that, nothing happens.
    """
    if not hasattr(mmap, "MADV_WILLNEED"):
        return
    advise = ctypes.CDLL(None).madvise
    for offset in offsets:
        start = (address + offset) // mmap.PAGESIZE * mmap.PAGESIZE
        length = address + offset + size - start
        advise(ctypes.c_void_p(start), ctypes.c_size_t(length), mmap.MADV_WILLNEED)


def _glibc() -> ctypes.CDLL | None:
    """The running C library, if it is glibc: others number the options of `mallopt` differently."""
    try:
        if not (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc"):
            return None
    except (AttributeError, ValueError, OSError):
        return None
    return ctypes.CDLL(None)
