"""Room on the disk: asked for before it is needed, and told in full when it runs out."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path

from toynet.core.errors import DiskError

_REASONS = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk can only be read",
}


def require_room(folder: Path, needed_bytes: int, what: str) -> None:
    """Raise `DiskError` when the disk that `folder` is on, or will be, has less than `needed_bytes` free."""
    if _free_bytes(folder) < needed_bytes:
        raise DiskError(f"no room for {what} in {folder} {_room(folder, needed_bytes)}")


def refusal(error: OSError, folder: Path, needed_bytes: int) -> str | None:
    """What to tell when the disk refuses to be written; none for an error of another kind."""
    if error.errno not in _REASONS:
        return None
    return f"cannot write to {folder}: {_REASONS[error.errno]} {_room(folder, needed_bytes)}"


@contextmanager
def disk_errors(folder: Path, needed_bytes: int) -> Iterator[None]:
    """Turn the disk's refusals inside the block into `DiskError`: a line that says how much is missing."""
    try:
        yield
    except OSError as error:
        told = refusal(error, folder, needed_bytes)
        if told is None:
            raise
        raise DiskError(told) from error


def _room(folder: Path, needed_bytes: int) -> str:
    needed, free = needed_bytes / 1e6, _free_bytes(folder) / 1e6
    return f"({needed:.1f} MB needed, {free:.1f} MB free); free some and go on with --resume"


def _free_bytes(folder: Path) -> float:
    """Infinite where the file system has no size of its own to tell, as /proc has none."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    usage = shutil.disk_usage(there)
    return usage.free if usage.total else inf
