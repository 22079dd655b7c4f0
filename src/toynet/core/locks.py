"""A lock on a folder that the kernel frees when its process ends, however it ends."""

import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from toynet.core.errors import ToyNetError

_NAME = ".lock"
_BUSY = errno.EWOULDBLOCK, errno.EACCES
_LONGEST_WAIT_S = 1.0
"""For the winner of a race to write down who it is."""


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process alone; a folder that is renamed meanwhile stays held.

    Raises `ToyNetError` naming the owner when another process holds it, or why it cannot be held.
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
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _BUSY:
                raise in_use(folder, _wait_for_owner(file)) from error
            raise ToyNetError(
                f"{folder} cannot be locked ({error.strerror}); use a disk that knows locks"
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        try:
            yield
        finally:
            file.truncate(0)


def owner(folder: Path) -> str | None:
    """The process on this machine that holds `folder`, as its lock file names it; none where none lives."""
    try:
        text = (folder / _NAME).read_text().strip()
    except (OSError, ValueError):
        return None
    return text if _lives(text) else None


def in_use(folder: Path, who: str) -> ToyNetError:
    """The refusal of a folder that `who` holds."""
    return ToyNetError(f"{folder} is in use by {who}; wait for it or stop it")


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
