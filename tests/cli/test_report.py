"""`toynet report` as a user types it."""

import os
import subprocess
import sys
from pathlib import Path

import invented

TOYNET = str(Path(sys.executable).with_name("toynet"))


def toynet(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    places = {"TOYNET_RUNS": str(folder / "runs"), "TOYNET_STUDIES": str(folder / "studies")}
    return subprocess.run(
        [TOYNET, "report", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, **places},
    )


def test_it_prints_where_the_page_is(tmp_path: Path):
    invented.study(tmp_path / "studies", invented.spec("mine"), invented.EFFECTS, images=300, folders=False)
    done = toynet(tmp_path, "mine", "-o", str(tmp_path / "page.html"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path / 'page.html'}\n"
    assert (tmp_path / "page.md").read_text().startswith("# Which augmentations help")


def test_an_unknown_name_is_one_line_with_the_nearest(tmp_path: Path):
    invented.single_run(tmp_path / "runs")
    done = toynet(tmp_path, "quick-s4")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "did you mean quick-s3?" in done.stderr
