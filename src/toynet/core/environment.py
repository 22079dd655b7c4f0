"""The machine and the versions that a result depends on."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("toynet-lab", "torch", "numpy", "pillow")
_TELLING_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16", "sve")


def describe() -> dict[str, Any]:
    """Processor, its vector extensions, cores, memory, system, and package versions. No names, no paths."""
    return {
        "processor": processor(),
        "flags": [flag for flag in _TELLING_FLAGS if flag in _flags()],
        "cores": os.cpu_count(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def processor() -> str:
    """The processor's marketing name, else its architecture."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def fingerprint() -> str:
    """One line that is equal on machines whose timings and roundings may be mixed."""
    about = describe()
    return f"{about['processor']} [{' '.join(about['flags'])}] torch {about['packages']['torch']}"


def _flags() -> set[str]:
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
