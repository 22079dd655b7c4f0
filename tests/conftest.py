"""Shared set-up: Keras, where a test uses it as reference, runs on torch; nothing is read from or left in
the user's own folders; one thread, since pytest runs a worker per core."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["MPLBACKEND"] = "Agg"


@pytest.fixture(scope="session")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the compiled kernels of all tests lie: they take seconds to make and are the same for all."""
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture(autouse=True)
def own_folders(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, kernels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs and caches of a test live in folders of its own. `TOYNET_DATA` stays: real images are there."""
    cache = tmp_path_factory.mktemp("cache")
    (cache / "toynet").mkdir()
    (cache / "toynet" / "kernels").symlink_to(kernels, target_is_directory=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("TOYNET_RUNS", str(tmp_path / "runs"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A real Chromium; where there is none, or no Playwright, its tests are skipped."""
    from specimens import QUIET

    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no chromium here")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=QUIET.split())
        yield opened
        opened.close()
