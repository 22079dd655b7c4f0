"""Where data sets lie on the disk."""

import os
from pathlib import Path

from toynet.core.errors import DataError
from toynet.core.places import cache_folder


def data_root(explicit: Path | None = None) -> Path:
    """`explicit`, else `$TOYNET_DATA`, else the user's cache folder. Nothing is touched or created."""
    if explicit is not None:
        return explicit.expanduser()
    if named := os.environ.get("TOYNET_DATA"):
        return Path(named).expanduser()
    return _default_root()


def prepare_root(root: Path) -> None:
    """Make sure that `root` is a folder that can be written to.

    Only the default folder in the cache is created: a chosen one that does not exist is more often a
    misspelt path than a wish. Raises `DataError`.
    """
    if root == _default_root():
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"cannot create the data root {root}: {error.strerror}") from error
    if not os.path.isdir(root):  # unlike Path.is_dir, no error where a parent cannot be entered
        what = "is not a folder" if os.path.exists(root) else "does not exist"
        raise DataError(f"the data root {root} {what}; create it or choose another with --data-root")
    if not os.access(root, os.W_OK | os.X_OK):
        raise DataError(f"the data root {root} cannot be written to; choose another with --data-root")


def _default_root() -> Path:
    return cache_folder() / "data"
