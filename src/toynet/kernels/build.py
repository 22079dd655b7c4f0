"""Compiles the C files of this package with the system's compiler, for bf16 or for fp32, and loads them.

Either library is made when it is first asked for and kept in the user's cache under a name that holds all it
depends on. It uses the OpenMP runtime that torch has loaded, so that both share one set of threads: two of
them would take the processor from each other. Only Linux is served; elsewhere, and without a compiler,
torch's own functions do the work.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from toynet.core import places
from toynet.core.environment import flags

FOLDER = Path(__file__).parent
"""Where the C files lie."""

_FLAGS = [
    "-std=c11",
    "-O2",
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-fopenmp",
    "-fPIC",
]
if platform.machine() == "x86_64":
    _FLAGS.append("-mprefer-vector-width=512")
_DEFINES = {torch.bfloat16: [], torch.float32: ["-DFLOATS"]}
"""By what the maps hold."""

_trying = threading.Lock()

_COMPILERS = "cc", "gcc", "clang"
_RUNTIMES = "libgomp", "libiomp5", "libomp"
_TIMEOUT_S = 120


class CannotBuild(Exception):
    """Why there is no library on this machine."""


def library(numbers: torch.dtype) -> ctypes.CDLL:
    """The compiled functions for maps of `numbers`; takes two or three seconds the first time on a machine.

    Raises `CannotBuild` where they cannot be had.
    """
    found = _outcome_once(numbers)
    if isinstance(found, CannotBuild):
        raise found
    return found


def obstacle(numbers: torch.dtype) -> str | None:
    """Why `library` cannot be had on this machine for maps of `numbers`; none where it can."""
    found = _outcome_once(numbers)
    return str(found) if isinstance(found, CannotBuild) else None


def begin(numbers: torch.dtype) -> None:
    """Let the library for maps of `numbers` be made meanwhile; who asks for it before it is there waits."""
    threading.Thread(target=_outcome_once, args=(numbers,), name="kernels").start()


def _outcome_once(numbers: torch.dtype) -> ctypes.CDLL | CannotBuild:
    with _trying:
        return _outcome(numbers)


@cache
def _outcome(numbers: torch.dtype) -> ctypes.CDLL | CannotBuild:
    """Tried once in a process."""
    if numbers not in _DEFINES:
        return CannotBuild(f"compiled kernels are for bf16 and fp32, not {numbers}")
    try:
        return _load(_FLAGS + _DEFINES[numbers])
    except CannotBuild as error:
        return error


def _load(options: list[str]) -> ctypes.CDLL:
    if sys.platform != "linux":
        raise CannotBuild("compiled kernels are made on Linux only")
    compiler, runtime = _compiler(), _openmp_runtime()
    parts = [sources(), " ".join(options), compiler, str(runtime), sorted(flags())]
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
    path = places.cache_folder() / "kernels" / f"kernels-{digest}.so"
    if path.exists():
        with suppress(OSError):  # damaged, or of another system: made anew
            return ctypes.CDLL(str(path))
    _compile([compiler, *options], runtime, path)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise CannotBuild(f"{path} does not load: {error}") from error


def sources() -> str:
    """A digest of the C files: where it is another, so may be what is fastest."""
    texts = b"".join(path.read_bytes() for path in sorted(FOLDER.glob("*.[ch]")))
    return hashlib.sha256(texts).hexdigest()[:16]


def pointers(*tensors: Tensor | None) -> list[ctypes.c_void_p]:
    """Where the tensors' numbers lie, for a call of `library`; the caller keeps the tensors alive."""
    return [ctypes.c_void_p(None if tensor is None else tensor.data_ptr()) for tensor in tensors]


def _compiler() -> str:
    named = os.environ.get("CC")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, _COMPILERS)), None)
    if found is None:
        what = f"CC={named} is not a program" if named else f"none of {', '.join(_COMPILERS)} is installed"
        raise CannotBuild(f"no C compiler: {what}")
    return found


def _openmp_runtime() -> Path:
    """The OpenMP library that this process has loaded, with torch."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = Path(line.split(maxsplit=5)[-1])
        if path.name.startswith(_RUNTIMES) and ".so" in path.name:
            return path
    raise CannotBuild("torch has loaded no OpenMP library")


def _compile(compiler: list[str], runtime: Path, target: Path) -> None:
    """Compile to `target`, which appears complete or not at all."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            made = Path(folder) / "kernels.so"
            units = {str(source): f"{folder}/{source.stem}.o" for source in sorted(FOLDER.glob("*.c"))}
            _call(*([*compiler, "-c", source, "-o", unit] for source, unit in units.items()))
            _call([compiler[0], "-shared", *units.values(), str(runtime), "-lm", "-o", str(made)])
            made.replace(target)
    except OSError as error:
        raise CannotBuild(f"the compiled kernels cannot be kept: {error}") from error


def _call(*commands: list[str]) -> None:
    """Run them side by side. Raises `CannotBuild` for the first that fails, and ends the others."""
    with ExitStack() as stack:
        started = [_started(command, stack) for command in commands]
        for (program, *_), process in zip(commands, started, strict=True):
            try:
                _, told = process.communicate(timeout=_TIMEOUT_S)
            except subprocess.TimeoutExpired as error:
                raise CannotBuild(f"{program} took more than {_TIMEOUT_S} s") from error
            if process.returncode:
                reason = told.strip().splitlines()
                raise CannotBuild(f"{program} failed: {reason[0] if reason else process.returncode}")


def _started(command: list[str], stack: ExitStack) -> "subprocess.Popen[str]":
    """A process that is killed, if it still runs, when the stack unwinds."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    stack.enter_context(process)
    stack.callback(process.kill)
    return process
