"""Compiling: once, whole or not at all, and a reason where it cannot be."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from toynet.kernels import build

WHY_NOT = build.obstacle(torch.float32)
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=f"no compiled kernels: {WHY_NOT}")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and nothing tried yet; what is cached for other tests stays."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(build.places, "cache_folder", lambda: folder)
    monkeypatch.setattr(build, "_outcome", build.cache(build._outcome.__wrapped__))
    return folder / "kernels"


def test_a_library_is_compiled_once_and_found_again(cache: Path, monkeypatch: pytest.MonkeyPatch):
    assert build.library(torch.float32).norm_forward
    (made,) = cache.iterdir()
    before = made.stat().st_mtime_ns
    build._outcome.cache_clear()
    monkeypatch.setattr(build, "_call", None)
    assert build.library(torch.float32).gather
    assert build.library(torch.float32).winograd_filter
    assert made.stat().st_mtime_ns == before


def test_a_library_that_was_begun_is_waited_for_and_made_once(cache: Path, monkeypatch: pytest.MonkeyPatch):
    compile_, made = build._compile, []
    monkeypatch.setattr(build, "_compile", lambda *given: made.append(given) or compile_(*given))
    build.begin(torch.float32)
    assert build.library(torch.float32).norm_forward
    assert len(made) == 1


def test_one_that_was_begun_and_failed_is_told_once_it_is_asked_for(cache: Path, monkeypatch):
    monkeypatch.setenv("CC", "no-such-cc")
    build.begin(torch.float32)
    assert "CC=no-such-cc" in build.obstacle(torch.float32)


def test_each_kind_of_numbers_has_a_library_of_its_own(cache: Path):
    assert build.library(torch.float32)._name != build.library(torch.bfloat16)._name
    assert len(list(cache.iterdir())) == 2
    assert build.obstacle(torch.float64) == "compiled kernels are for bf16 and fp32, not torch.float64"


def test_another_source_is_another_library(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    build.library(torch.float32)
    changed = tmp_path / "sources"
    changed.mkdir()
    for path in build.FOLDER.glob("*.[ch]"):
        shutil.copy(path, changed)
    with (changed / "numbers.h").open("a") as header:
        header.write("\n__attribute__((weak)) int answer(void) { return 42; }\n")
    monkeypatch.setattr(build, "FOLDER", changed)
    build._outcome.cache_clear()
    assert build.library(torch.float32).answer() == 42
    assert len(list(cache.iterdir())) == 2


def test_a_compiler_that_fails_is_told_and_leaves_nothing(cache: Path, tmp_path: Path, monkeypatch):
    fake = tmp_path / "fake-cc"
    fake.write_text("#!/bin/sh\necho 'fatal: out of ideas' >&2\nexit 3\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CC", str(fake))
    assert build.obstacle(torch.float32).endswith("fake-cc failed: fatal: out of ideas")
    assert list(cache.iterdir()) == []
    with pytest.raises(build.CannotBuild, match="out of ideas"):
        build.library(torch.float32)


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("CC", "no-such-cc", "CC=no-such-cc is not a program"),
        ("PATH", "", "none of cc, gcc, clang"),
    ],
)
def test_no_compiler_is_told(
    cache: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str
):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv(variable, value)
    assert told in build.obstacle(torch.float32)


def test_a_cache_that_cannot_be_written_is_told(cache: Path):
    cache.parent.write_text("a file where a folder should be")
    assert "cannot be kept" in build.obstacle(torch.float32)


def test_other_systems_are_told(cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(build.sys, "platform", "darwin")
    assert build.obstacle(torch.float32) == "compiled kernels are made on Linux only"


def test_a_damaged_library_is_made_anew(tmp_path: Path):
    """In processes of their own: one that has loaded a library never reads its file again."""
    ask = "import torch; from toynet.kernels.build import library; print(library(torch.float32)._name)"
    command, environment = [sys.executable, "-c", ask], os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    made = Path(subprocess.check_output(command, env=environment, text=True).strip())
    made.write_bytes(b"not a library")
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert made.is_relative_to(tmp_path)
    assert made.stat().st_size > 1000


def test_a_process_that_ends_meanwhile_ends_quietly_and_leaves_a_whole_library(tmp_path: Path):
    """As `toynet train` does where a data set turns out to be missing."""
    leave = "import torch; from toynet.kernels.build import begin; begin(torch.float32); raise SystemExit(3)"
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", leave], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (3, "")
    (made,) = (tmp_path / "toynet" / "kernels").iterdir()
    assert made.suffix == ".so"
