"""Shared set-up: Keras, where a test uses it as reference, runs on torch; nothing is read from or left in
the user's own folders; one thread, since pytest runs a worker per core."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs and caches of a test live in its own folder. `TOYNET_DATA` stays, real images are read there."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    monkeypatch.setenv("TOYNET_RUNS", str(tmp_path / "runs"))
