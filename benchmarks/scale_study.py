"""How a study grows to 1,000 machines: python benchmarks/scale_study.py > results/scale-study.json

measured    what the one process that conducts a study does for each run, on this machine: hand it to Ray and
            take its answer (tasks that do nothing), journal it (flushed to the disk); and what it does for
            each look: read the journal, analyse it, write the page. With up to 100,000 runs.
simulated   from these, whole studies of 100,000 runs on up to 1,000 machines that die now and then: how long,
            and how much of the machines' time is spent on runs. Machines are never really there.
"""

import argparse
import heapq
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tiny_study import toml

import toynet
from toynet.core.environment import describe
from toynet.studies import design
from toynet.studies.conduct import conduct
from toynet.studies.design import Arm, Size
from toynet.studies.folder import StudyFolder
from toynet.studies.ledger import Entry, pack
from toynet.studies.plan import Plan
from toynet.studies.ray_head import Head, keep_out_others
from toynet.studies.spec import StudySpec

RUNS = (1_000, 10_000, 100_000)
ARMS = 100
IMAGES = 5_000
TASKS = 1_000
APPENDS = 100
MACHINES = (1, 10, 100, 1_000)
RUN_S = (60.0, 600.0, 3600.0)
DIES_EVERY_S = 30 * 86400.0
"""A machine, on average; a cheap one that may be taken away is worse."""

BACK_AFTER_S = 300.0
"""Until Ray has noticed, and another machine stands in."""

LOOKS = (0.25, 0.4, 0.6, 1.0)
"""Of all runs: the looks of `seeds = "auto"` at 5, 8, 12 and 20 seeds, where no arm stops."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="*", default=RUNS, help="journals of so many runs")
    asked = parser.parse_args()
    ray_s = hand_over()  # first, while this process is small
    with tempfile.TemporaryDirectory() as folder:
        growth = [with_runs(Path(folder) / str(runs), runs) for runs in asked.runs]
    journal_s = max(row["append_s"]["median"] for row in growth)
    per_run_s = ray_s["per_task_here_s"] + journal_s
    look_s = growth[-1]["read_s"] + growth[-1]["analyse_s"]
    each = {"per_run_s": round(per_run_s, 5), "per_look_s": round(look_s, 2)}
    measured = {"ray": ray_s, "journals": growth, "run_folder": run_folder()} | each
    about = {
        "command": "python benchmarks/scale_study.py",
        "commit": subprocess.check_output(["git", "describe", "--always", "--dirty"], text=True).strip(),
        "date": time.strftime("%Y-%m-%d"),
        "environment": describe(),
        "ray_version": __import__("ray").__version__,
        "load": "beside other work on the same two cores",
        "assumed": {"runs": RUNS[-1], "one machine dies every_s": DIES_EVERY_S, "back_after_s": BACK_AFTER_S},
    }
    simulated = [simulate(machines, run_s, per_run_s, look_s) for run_s in RUN_S for machines in MACHINES]
    json.dump(about | {"measured": measured, "simulated": simulated}, sys.stdout, indent=2)
    print()


def with_runs(path: Path, runs: int) -> dict[str, Any]:
    """A study of 100 arms whose runs are invented: what its journal, its analysis and its page take."""
    folder = StudyFolder(path)
    path.mkdir()
    invent(folder, runs)
    before_bytes = folder.ledger.path.stat().st_size
    line = next(iter(folder.ledger.entries().values()))
    appended = [timed(lambda: folder.ledger.write_run(line), time.perf_counter) for _ in range(APPENDS)]
    os.truncate(folder.ledger.path, before_bytes)
    found = {
        "runs": runs,
        "journal_mib": round(before_bytes / 2**20, 1),
        "append_s": {"median": round(statistics.median(appended), 5), "most": round(max(appended), 5)},
        "read_s": round(timed(folder.ledger.entries), 2),
    }
    whole = timed(folder.account)
    found["analyse_s"] = round(max(0.0, whole - found["read_s"]), 2)
    found["page_s"] = round(timed(lambda: toynet.report([path], output=path / "page.html")), 2)
    found["page_mib"] = round((path / "page.html").stat().st_size / 2**20, 1)
    found["peak_mib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)
    return found


def invent(folder: StudyFolder, runs: int) -> None:
    """Plan and runs, without flushing each."""
    settings = {f"arm{number}": {"optim.weight_decay": number / 1e6} for number in range(1, ARMS)}
    table = {"recipe": "quick", "seeds": runs // ARMS, "margin": 0.5, "variant": settings}
    spec = StudySpec.from_table("scale", table)
    arms = design.arms(spec)
    size = Size(epochs=10, samples=500_000, parameters=10**6, macs=10**7)
    plan = Plan(
        spec=spec,
        arms=arms,
        sizes=dict.fromkeys([arm.name for arm in arms], size),
        classes=10,
        digest="0" * 64,
        test_digest="0" * 64,
    )
    folder.ledger.write_plan(json.loads(plan.model_dump_json()))
    draw = np.random.default_rng(0)
    with folder.ledger.path.open("a") as file:
        for seed in range(runs // ARMS):
            for arm in arms:
                file.write(json.dumps({"run": entry(arm, seed, draw).model_dump(mode="json")}) + "\n")


def entry(arm: Arm, seed: int, draw: np.random.Generator) -> Entry:
    right = draw.random(IMAGES) < draw.normal(0.9, 0.003)
    return Entry(
        arm=arm.name,
        seed=seed,
        outcome="finished",
        val_accuracy=float(right.mean()),
        val_loss=0.3,
        best_val_accuracy=float(right.mean()),
        epochs=10,
        train_s=600.0,
        whole_s=605.0,
        images_per_s=833.0,
        parameters=10**6,
        macs=10**7,
        machine="invented",
        correct=pack(right),
        images=IMAGES,
    )


def run_folder() -> dict[str, Any]:
    """What one run of a study leaves on the shared folder, for each parameter of its model and besides."""
    with tempfile.TemporaryDirectory() as folder:
        spec = StudySpec.from_table("tiny", tomllib.loads(toml(epochs=3)))
        run = conduct(spec, Path(folder) / "tiny", jobs=1).runs["control", 0]
        files = [path for path in run.path.rglob("*") if path.is_file()]
        result = run.result()
        assert result is not None
        held = sum(path.stat().st_size for path in files if path.suffix == ".safetensors")
        return {
            "files": len(files),
            "tensor_bytes_per_parameter": round(held / result.parameters, 1),
            "other_kib": round((sum(path.stat().st_size for path in files) - held) / 2**10),
        }


def hand_over() -> dict[str, float]:
    """Tasks that do nothing, as many on their way as 1,000 machines would take, on the cores here."""
    keep_out_others()
    import ray

    head = Head(cpus=2, show_logs=False)
    ray.init(address=head.address, log_to_driver=False, logging_level="error")
    task = ray.remote(num_cpus=1, max_retries=0)(nothing)
    ray.get([task.remote("") for _ in range(20)])
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    busy_s, cpu_s = time.perf_counter(), time.process_time()
    on_their_way = [task.remote("x" * 4000) for _ in range(TASKS)]
    done = 0
    while on_their_way:
        ended, on_their_way = ray.wait(on_their_way, timeout=0.5)
        for ref in ended:
            ray.get(ref)
            done += 1
    busy_s, cpu_s = time.perf_counter() - busy_s, time.process_time() - cpu_s
    ray.shutdown()
    head.end()
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    return {
        "tasks": done,
        "per_task_s": round(busy_s / done, 5),
        "per_task_here_s": round(cpu_s / done, 5),
        "memory_kib_per_task": round(grown_kib / done, 1),
    }


def nothing(job: str) -> dict[str, str]:
    return {"entry": "x" * 1500}


def timed(work: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """Seconds of this process's own time, which other work on the machine does not lengthen."""
    started = clock()
    work()
    return clock() - started


def simulate(machines: int, run_s: float, per_run_s: float, look_s: float) -> dict[str, Any]:
    """A run at a time on each machine, of lengths that vary by a tenth; all wait for one conductor."""
    draw = random.Random(0)
    now, lost, useful = 0.0, 0, 0.0
    for start, stop in zip((0.0, *LOOKS), LOOKS, strict=False):
        due = round((stop - start) * RUNS[-1])
        now, failures, work = _until_look(draw, due, machines, run_s, per_run_s, now)
        lost, useful, now = lost + failures, useful + work, now + look_s
    return {
        "machines": machines,
        "run_s": run_s,
        "days": round(now / 86400, 2),
        "machine_days": round(machines * now / 86400, 1),
        "busy": round(useful / (machines * now), 3),
        "runs_lost_and_gone_on": lost,
    }


def _until_look(
    draw: random.Random, runs: int, machines: int, run_s: float, per_run_s: float, now: float
) -> tuple[float, int, float]:
    """When the last of `runs` has been journaled, how many were lost on the way, and seconds of work."""
    free = [(now, number) for number in range(machines)]
    served, lost, useful, last = now, 0, 0.0, now
    for _ in range(runs):
        since, number = heapq.heappop(free)
        served = max(served, since) + per_run_s
        length = run_s * draw.uniform(0.9, 1.1)
        useful += length
        end = served + length
        if draw.random() < length / DIES_EVERY_S:
            lost, end = lost + 1, end + BACK_AFTER_S
        heapq.heappush(free, (end, number))
        last = max(last, end)
    return last, lost, useful


if __name__ == "__main__":
    main()
