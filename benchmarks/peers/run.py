"""ToyNet's training step beside its peers': `make bench-peers`, or python benchmarks/peers/run.py --help.

For each job every contestant is started, warmed up and stopped; then, in several rounds, each in turn
trains for a few seconds while all others stand still, so that a drift of the machine meets all alike. Writes
a record for each job and a page of tables. Run it on an otherwise idle machine.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import machine
import pool
import tables
from contests import CONTESTANTS, JOBS, Contestant, Job
from session import HERE, Lost, Session

from toynet.core.environment import describe
from toynet.core.files import read_json, write_atomic, write_json

HOPELESS = 20
"""Where bf16 is so many times slower than fp32, steps take minutes and nobody would ask for it."""


def main() -> None:
    asked = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    busy = machine.other_work()
    if busy is not None and busy > machine.QUIET_CORES and not asked.even_if_busy:
        raise SystemExit(f"other work keeps about {busy} cores busy; wait for it, or say --even-if-busy")
    asked.out.mkdir(parents=True, exist_ok=True)
    about = {
        "command": " ".join(["python", "benchmarks/peers/run.py", *sys.argv[1:]]),
        "date": time.strftime("%Y-%m-%d"),
        "commit": _commit(),
        "threads": asked.threads,
        "window_s": asked.window_s,
        "environment": describe(),
    }
    contestants = [one for one in CONTESTANTS if asked.only in one.name]
    for job in (job for job in JOBS if asked.job in job.name):
        started = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="toynet-peers-") as scratch:
            record = about | contest(job, contestants, Path(scratch), asked)
        record["elapsed_s"] = round(time.perf_counter() - started)
        write_json(asked.out / f"{job.name}.json", record)
        files = [asked.out / f"{job.name}.json" for job in JOBS]
        write_atomic(
            asked.out / "README.md", tables.page([read_json(file) for file in files if file.exists()])
        )
    print(f"written: {asked.out / 'README.md'}")


def contest(
    job: Job, contestants: list[Contestant], scratch: Path, asked: argparse.Namespace
) -> dict[str, Any]:
    """All rounds of one job, as it goes into its record."""
    images = scratch / "pool.npz"
    pool.write(images)
    before = _matrix_product(asked.threads)
    sessions: dict[str, Session] = {}
    entries = {one.name: _entry(one) for one in contestants}
    try:
        for one in contestants:
            if one.needs_compiler and not _has_compiler():
                entries[one.name]["not_run"] = "no C++ compiler"
            elif one.bf16 and before["fp32"] > HOPELESS * before["bf16"]:
                times = before["fp32"] / before["bf16"]
                entries[one.name]["not_run"] = (
                    f"products in bf16 take {times:,.0f} times as long as in fp32 here"
                )
            else:
                sessions[one.name] = Session(job, one, images, asked.threads)
                entries[one.name] |= _attempt(sessions, one.name, None)
            print(f"{job.title}, {one.name}: {_told(entries[one.name])}", flush=True)
        for number in range(1, asked.rounds + 1):
            for name in list(sessions):
                busy = machine.other_work()
                found = _attempt(sessions, name, asked.window_s)
                if "not_run" in found:
                    entries[name] |= found
                else:
                    entries[name]["rounds"].append(found | {"other_work_cores": busy})
                print(f"round {number}/{asked.rounds}, {name}: {_told(found)}", flush=True)
    finally:
        for session in sessions.values():
            session.close()
    return {
        "job": job.name,
        "title": job.title,
        "parameters": job.parameters,
        "matrix_product_gflops": {"before": before, "after": _matrix_product(asked.threads)},
        "contestants": list(entries.values()),
    }


def _entry(one: Contestant) -> dict[str, Any]:
    return {"library": one.library, "setting": one.setting, "default": one.default, "rounds": []}


def _attempt(sessions: dict[str, Session], name: str, window_s: float | None) -> dict[str, Any]:
    """What the contestant measured in a window (none: what it says when it is ready), or why it is out."""
    try:
        return sessions[name].answer() if window_s is None else sessions[name].measure(window_s)
    except Lost as error:
        sessions.pop(name).close()
        return {"not_run": str(error)}


def _told(found: dict[str, Any]) -> str:
    if "not_run" in found:
        return f"not run: {found['not_run']}"
    if "images" in found:
        return f"{found['images'] / found['seconds']:.1f} images/s"
    return f"ready, first step after {found['build_s']} + {found['first_step_s']} s"


def _has_compiler() -> bool:
    """What inductor looks for: `CXX`, else g++."""
    return shutil.which(os.environ.get("CXX", "g++")) is not None


def _matrix_product(threads: int) -> dict[str, float]:
    """In a process of its own, so that the driver never loads torch."""
    done = subprocess.run(
        [sys.executable, HERE / "machine.py", str(threads)], stdout=subprocess.PIPE, check=True
    )
    rates: dict[str, float] = json.loads(done.stdout)
    return rates


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=HERE, stdout=subprocess.PIPE, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--job", default="", help="only jobs whose name holds this text")
    parser.add_argument("--only", default="", help="only contestants whose name holds this text")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--window-s", type=float, default=5.0, help="seconds of training at a time")
    parser.add_argument("--threads", type=int, default=cores, help=f"cores for each, all {cores} by default")
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "results" / "peers")
    parser.add_argument("--even-if-busy", action="store_true", help="measure although other work runs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
