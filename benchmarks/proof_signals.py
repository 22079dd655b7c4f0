"""Stopping a run by signals: python benchmarks/proof_signals.py --trials 100

Real runs, by one process and by torchrun with two, three and four ranks, are told to stop at random moments:
SIGTERM or SIGINT to the process, to any one rank, or to torchrun. Measured is the time until the last of
their processes is gone; checked are exit codes, that all was saved, and that the next trial goes on from
there. Some single processes get a second SIGINT, which must end them at once. Writes
results/reliability/signals.json and exits with 1 where a trial went wrong. A trial takes seconds of start-up,
so a hundred take half an hour on two cores.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from toynet.core.environment import describe
from toynet.core.files import write_json

OUT = Path(__file__).parents[1] / "results" / "reliability" / "signals.json"
TRAIN = ["-m", "toynet", "train", "quick", "--data", "glyphs:600", "--name", "run"]
SET = [
    *("--set", "model.widths=[4,8,8,8]", "--set", "train.epochs=100000", "--set", "train.precision=fp32"),
    *("--set", "train.kernels=direct", "--set", "train.memory_format=channels_last"),
]
SHAPES = 1, 2, 3, 4
MOST_S, MOST_AGAIN_S, HANGS_S = 10.0, 1.0, 60.0
AGAIN_AFTER_S = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--beside", action="store_true", help="say that the machine does other work")
    asked = parser.parse_args()
    dice = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as folder:
        rows = [trial(number, dice, Path(folder)) for number in range(asked.trials)]
    wrong = [row for row in rows if row["wrong"]]
    about = {
        "command": f"python benchmarks/proof_signals.py --trials {asked.trials}",
        "commit": subprocess.check_output(["git", "describe", "--always", "--dirty"], text=True).strip(),
        "date": time.strftime("%Y-%m-%d"),
        "beside_other_work": asked.beside,
        "environment": describe(),
        "trials": len(rows),
        "wrong": len(wrong),
        "seconds_to_exit": {str(size): summary(rows, size, "seconds") for size in SHAPES},
        "seconds_to_exit_of_the_ranks": {
            str(size): summary(rows, size, "ranks_seconds") for size in SHAPES if size > 1
        },
        "second_ctrl_c_s": spread([row["seconds"] for row in rows if row["again"]]),
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    write_json(OUT, about | {"rows": rows})
    print(about)
    sys.exit(1 if wrong else 0)


def trial(number: int, dice: random.Random, root: Path) -> dict[str, Any]:
    """Start or go on, wait for a moment in training, signal, and see what comes."""
    size = SHAPES[number % len(SHAPES)]
    code = dice.choice([signal.SIGTERM, signal.SIGINT])
    again = size == 1 and code == signal.SIGINT
    process, log = begin(root, size)
    try:
        before = epochs(root)
        until = time.monotonic() + HANGS_S * 2
        while epochs(root) <= before and time.monotonic() < until:
            time.sleep(0.02)
        ranks = [process.pid] if size == 1 else children(process.pid)
        targets = ["process"] if size == 1 else ["torchrun", *map(str, range(size))]
        target = dice.choice(targets)
        time.sleep(dice.random())
        pid = process.pid if target in ("process", "torchrun") else ranks[int(target)]
        os.kill(pid, code)
        if again and sleep_if_alive(pid, AGAIN_AFTER_S):
            os.kill(pid, code)
        started = time.monotonic()
        ranks_s, seconds = (gone(process, those, started) for those in (ranks, [process.pid]))
    finally:
        for one in children(process.pid):
            os.kill(one, signal.SIGKILL)
        process.kill()
        process.wait()
    said = log.read_text()
    row = {"ranks": size, "signal": code.name, "to": target, "again": again}
    row |= {"ranks_seconds": round(ranks_s, 3), "seconds": round(seconds, 3)}
    row["wrong"] = faults(row, process.returncode, said)
    print(number, row, flush=True)
    return row


def gone(process: subprocess.Popen[bytes], pids: list[int], started: float) -> float:
    """Seconds from `started` until all of `pids` are gone."""
    while any(map(alive, pids)) and time.monotonic() < started + HANGS_S:
        process.poll()
        time.sleep(0.01)
    return time.monotonic() - started


def sleep_if_alive(pid: int, seconds: float) -> bool:
    """Two signals at one moment are one; whether there is somebody left for a second one."""
    time.sleep(seconds)
    return alive(pid)


def begin(root: Path, size: int) -> tuple[subprocess.Popen[bytes], Path]:
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", str(size)] if size > 1 else []
    log = root / "log.txt"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, *torchrun, *TRAIN, *SET, *(["--resume"] if (root / "run").exists() else [])],
            env=os.environ | {"TOYNET_RUNS": str(root), "OMP_NUM_THREADS": "1"},
            stdout=file,
            stderr=file,
        )
    return process, log


def faults(row: dict[str, Any], code: int, said: str) -> list[str]:
    """What was not as promised."""
    number = 128 + signal.Signals[row["signal"]]
    wanted = number if row["ranks"] == 1 else 1
    found = []
    if row["seconds"] > (MOST_AGAIN_S if row["again"] else MOST_S):
        found.append("late")
    if code != wanted:
        found.append(f"exit code {code}")
    if not row["again"] and said.count("error: stopped after") != 1:
        found.append("not told once")
    if row["ranks"] > 1 and row["to"] != "torchrun" and said.count(f"exitcode  : {number}") != row["ranks"]:
        found.append("a rank's exit code")
    return found if not found else [*found, said[-2000:]]


def children(pid: int) -> list[int]:
    """A launcher's ranks, in order."""
    try:
        pids = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        texts = {one: Path(f"/proc/{one}/environ").read_bytes() for one in pids}
    except OSError:
        return []
    return [one for rank in SHAPES for one in pids if f"\0RANK={rank - 1}\0".encode() in texts[one]]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def epochs(root: Path) -> int:
    path = root / "run" / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def summary(rows: list[dict[str, Any]], size: int, key: str) -> dict[str, float]:
    return spread([row[key] for row in rows if row["ranks"] == size and not row["again"]])


def spread(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {"n": 0}
    return {
        "n": len(seconds),
        "median": round(float(np.median(seconds)), 3),
        "p99": round(float(np.quantile(seconds, 0.99)), 3),
        "max": max(seconds),
    }


if __name__ == "__main__":
    main()
