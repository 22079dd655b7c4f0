"""Where things are kept when nobody says otherwise."""

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Data sets and remembered timings."""
    return Path(platformdirs.user_cache_dir("toynet", appauthor=False))


def studies_folder() -> Path:
    """`$TOYNET_STUDIES`, else `./studies`."""
    return Path(os.environ.get("TOYNET_STUDIES") or "studies")


def runs_folder() -> Path:
    """`$TOYNET_RUNS`, else `./runs`."""
    return Path(os.environ.get("TOYNET_RUNS") or "runs")
