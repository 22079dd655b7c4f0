"""The machine and the versions that a result depends on."""

import hashlib
import os
import platform
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("toynet-lab", "torch", "numpy", "pillow")
_TELLING_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16", "sve")


def describe() -> dict[str, Any]:
    """Processor, its vector extensions, cores, memory, system, and package versions. No names, no paths."""
    return {
        "processor": processor(),
        "flags": [flag for flag in _TELLING_FLAGS if flag in flags()],
        "cores": os.cpu_count(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def processor() -> str:
    """The processor's marketing name, else its architecture."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def fingerprint(about: dict[str, Any] | None = None) -> str:
    """One line that is equal on machines whose timings and roundings may be mixed: this one, or `about`."""
    about = about or describe()
    return f"{about['processor']} [{' '.join(about['flags'])}] torch {about['packages']['torch']}"


def place_among_ranks() -> tuple[int, int]:
    """This process's rank and how many there are, as `torchrun` tells them; (0, 1) where nobody does."""
    rank, size = (os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE"))
    there = rank.isdecimal() and size.isdecimal() and "MASTER_ADDR" in os.environ
    return (int(rank), int(size)) if there else (0, 1)


@cache
def code_fingerprint() -> str:
    """ToyNet's version and a digest of its sources: equal where two machines would do the same."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted([*package.rglob("*.py"), *package.rglob("*.[ch]")]):
        digest.update(f"{path.relative_to(package)}\0".encode() + path.read_bytes())
    return f"toynet {_version('toynet-lab')} (sources {digest.hexdigest()[:8]})"


def usable_cores() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def busy_cores() -> float | None:
    """How many cores other work keeps busy, over a tenth of a second; none where Linux does not tell."""
    before = _core_ticks()
    time.sleep(0.1)
    after = _core_ticks()
    if before is None or after is None or after[1] == before[1]:
        return None
    return (os.cpu_count() or 1) * (1 - (after[0] - before[0]) / (after[1] - before[1]))


def busy_warning(threads: int) -> str | None:
    """A line to say where other work and `threads` of ours together want more cores than there are.

    Threads that have to wait for a core hold up all the others at every operation.
    """
    cores, busy = os.cpu_count() or 1, busy_cores() if threads > 1 else None
    if busy is None or round(busy) + threads <= cores:
        return None
    return (
        f"other work keeps about {busy:.1f} of {cores} cores busy: "
        f"--threads {max(1, cores - round(busy))} may be many times faster than {threads} now"
    )


def _core_ticks() -> tuple[int, int] | None:
    """Idle and all ticks of all cores since the machine started."""
    try:
        ticks = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    except (OSError, ValueError, IndexError):
        return None
    return ticks[3] + ticks[4], sum(ticks)


def flags() -> set[str]:
    return set((_cpuinfo("flags") or _cpuinfo("Features")).split())


def _cpuinfo(field: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
