"""The rules of the house that a tool can check."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LONGEST = 300


def test_imports_point_down():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_files_stay_short():
    long = {
        f.name: n for f in (ROOT / "src").rglob("*.py") if (n := len(f.read_text().splitlines())) > LONGEST
    }
    assert not long


def test_only_one_module_talks_to_other_ranks():
    sources = (ROOT / "src" / "toynet").rglob("*.py")
    talking = [f.name for f in sources if re.search(r"(import|from) torch\.distributed", f.read_text())]
    assert talking == ["distributed.py"]


def test_only_the_command_line_prints():
    sources = (ROOT / "src" / "toynet").rglob("*.py")
    printing = [f.name for f in sources if "cli" not in f.parts and re.search(r"\bprint\(", f.read_text())]
    assert printing == []
