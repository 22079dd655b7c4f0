"""The short forms of the proofs of docs/reliability.md: the same programs, with fewer trials.

Those that fork or mount run in one process of their own, which loads torch once for all of them.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reliability import crash_points, damage, fuzz, nonfinite, payloads, stops

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "proof_reliability.py"
FORKING = "kills", "interrupts", "locks", "studies", "sameness"
MAY_MOUNT = (
    shutil.which("unshare")
    and not subprocess.run(
        [
            "unshare",
            *(["--map-root-user"] if os.getuid() else []),
            "--mount",
            "mount",
            "-t",
            "tmpfs",
            "none",
            "/mnt",
        ],
        capture_output=True,
    ).returncode
)


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    out = tmp_path_factory.mktemp("proofs")
    goals = [*FORKING, *(["full_disk"] if MAY_MOUNT else [])]
    command = [sys.executable, str(PROGRAM), *goals, "--short", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert (out / f"{FORKING[-1]}.json").exists(), done.stderr[-3000:]
    return {path.stem: json.loads(path.read_text()) for path in out.iterdir()}


@pytest.mark.parametrize("goal", FORKING)
def test_a_proof_with_real_processes_holds(proven: dict[str, dict[str, Any]], goal: str):
    assert proven[goal]["passed"], proven[goal]


@pytest.mark.skipif(not MAY_MOUNT, reason="no file system can be mounted here")
def test_a_disk_that_fills_up_loses_nothing(proven: dict[str, dict[str, Any]]):
    assert proven["full_disk"]["passed"], proven["full_disk"]


def test_every_crash_point_leaves_the_old_or_the_new():
    found = crash_points.prove(crash_points.SHORT)
    assert found["passed"], found
    assert all(operation["new"] and operation["old"] for operation in found["operations"].values())


def test_on_a_disk_that_ignores_flushes_the_proof_fails():
    assert crash_points.prove(1, flushes=False)["neither"] > 10


def test_stops_inside_an_epoch_repeat_and_skip_nothing():
    found = stops.prove(2)
    assert found["passed"], found


def test_damage_is_noticed():
    found = damage.prove(damage.SHORT)
    assert found["passed"], found


def test_what_is_not_finite_is_caught():
    found = nonfinite.prove(nonfinite.SHORT)
    assert found["passed"], found


def test_altered_checkpoints_are_refused_or_whole():
    found = fuzz.prove(fuzz.SHORT)
    assert found["trials"] > 5
    assert found["passed"], found


@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no chromium here")
def test_payloads_are_text():
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = payloads.prove(payloads.SHORT)
    assert found["passed"], found
