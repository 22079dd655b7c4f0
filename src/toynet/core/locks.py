"""A lock on a folder that the kernel frees when its process ends, however it ends."""

import errno
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from toynet.core.errors import ToyNetError

_NAME = ".lock"
_BUSY = errno.EWOULDBLOCK, errno.EACCES
_TRIES = 20
_LONGEST_WAIT_S = 1.0
"""For the winner of a race to write down who it is."""


@contextmanager
def folder_lock(folder: Path, *, waiting: Callable[[str], object] | None = None) -> Iterator[None]:
    """Hold `folder` for this process alone; a folder that is renamed meanwhile stays held.

    When another process holds it, `waiting` is told which one, and its end is awaited; without `waiting` that
    raises `ToyNetError` naming the owner. Raises it too, with the reason, when a folder cannot be held.
    """
    try:
        file = (folder / _NAME).open("a+")
    except OSError as error:
        reason = error.strerror or error
        raise ToyNetError(
            f"cannot write to {folder} ({reason}); work on a copy on a disk that can be written"
        ) from error
    with file:
        try:
            _take(file)
        except OSError as error:
            if error.errno not in _BUSY:
                raise ToyNetError(
                    f"{folder} cannot be locked ({error.strerror}); use a disk that knows locks"
                ) from error
            who = _wait_for_owner(file)
            if waiting is None:
                raise in_use(folder, who) from error
            waiting(who)
            fcntl.flock(file, fcntl.LOCK_EX)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def is_held(folder: Path) -> bool:
    """Whether a process holds `folder`. To know, its lock is taken for an instant."""
    try:
        with (folder / _NAME).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no lock, so nobody ever held it
        return False
    return False


def owner(folder: Path) -> str | None:
    """The process on this machine that holds `folder`, as its lock file names it; none where none lives."""
    try:
        text = (folder / _NAME).read_text().strip()
    except (OSError, ValueError):
        return None
    return text if _lives(text) else None


def was_abandoned(folder: Path) -> bool:
    """Whether a process held `folder` and was killed: it is held no more, and still says by whom."""
    try:
        named = (folder / _NAME).stat().st_size > 0
    except OSError:
        return False
    return named and not is_held(folder)


def in_use(folder: Path, who: str) -> ToyNetError:
    """The refusal of a folder that `who` holds."""
    return ToyNetError(f"{folder} is in use by {who}; wait for it or stop it")


def _take(file: TextIO) -> None:
    """Lock it. Who only looks (`is_held`) has it for an instant, so ask more than once before giving up."""
    for _ in range(_TRIES - 1):
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(0.005)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _wait_for_owner(file: TextIO) -> str:
    """Who holds the lock. It is held a moment before it says by whom; one that died is still named."""
    deadline = time.monotonic() + _LONGEST_WAIT_S
    while True:
        file.seek(0)
        text = file.read().strip()
        if _lives(text) or time.monotonic() > deadline:
            return text or "another process"
        time.sleep(0.01)


def _lives(text: str) -> bool:
    """Whether the process that `text` names may still be there; of other machines that is not known."""
    words = text.split(" ")
    if len(words) != 4 or not words[1].isdecimal():
        return False
    if words[3] != socket.gethostname():
        return True
    try:
        os.kill(int(words[1]), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
