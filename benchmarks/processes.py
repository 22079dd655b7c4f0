"""Processes of a study, as the system tells of them."""

import re
import subprocess
from pathlib import Path


def holder(run: Path) -> int:
    """The process that makes the run."""
    return int(re.match(r"process (\d+) on", (run / ".lock").read_text())[1])


def descendants(pid: int) -> dict[int, str]:
    """Every process below `pid`, with its first word."""
    table = subprocess.check_output(["ps", "-ww", "-eo", "pid=,ppid=,args="], text=True)
    rows = [line.split(None, 2) for line in table.splitlines()]
    found: dict[int, str] = {}
    parents = {pid}
    while parents:
        children = {int(row[0]): row[2].split()[0] for row in rows if int(row[1]) in parents}
        found |= children
        parents = set(children)
    return found


def alive(family: dict[int, str]) -> dict[int, str]:
    """Those of `family` that still run and are no zombies."""
    found = {}
    for pid, name in family.items():
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            found[pid] = name
    return found
