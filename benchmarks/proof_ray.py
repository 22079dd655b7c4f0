"""A study on Ray while its machines die: python benchmarks/proof_ray.py > results/reliability/ray.json

Real processes, really killed, on this machine. Four parts:

chaos    40 tiny runs on a cluster of two nodes; every 20 s the process of a run is killed, the same run twice
         at most, and once one of the nodes with everything on it; each result beside that of the same run
         undisturbed, without Ray
retries  a run whose process is killed each time it begins: how often it is begun, and what is journaled
memory   Ray's own guard kills the process of every run: the same
orphans  a study that started its own Ray is killed: what is left of it, ten seconds later

Exits with 1 where a run is lost or differs, is begun more than four times, or a process is left.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from processes import alive, descendants, holder
from ray.cluster_utils import Cluster
from tiny_study import toml

from toynet.core.environment import describe
from toynet.studies.folder import StudyFolder
from toynet.studies.ledger import TIMED

KILL_EVERY_S = 20.0
SEEDS = 20
EPOCHS = 20
NODE = {"num_cpus": 1, "object_store_memory": 100_000_000, "include_dashboard": False}


def main() -> None:
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0", "OMP_NUM_THREADS": "1"}
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        parts = {part.__name__: part(root) for part in (chaos, retries, memory, orphans)}
    about = {
        "command": "python benchmarks/proof_ray.py",
        "commit": subprocess.check_output(["git", "describe", "--always", "--dirty"], text=True).strip(),
        "date": time.strftime("%Y-%m-%d"),
        "took_s": round(time.perf_counter() - started),
        "environment": describe(),
        "ray": __import__("ray").__version__,
        "load": "beside other work on the same two cores",
    }
    json.dump(about | parts, sys.stdout, indent=2)
    print()
    sys.exit(0 if all(part["holds"] for part in parts.values()) else 1)


def chaos(root: Path) -> dict[str, Any]:
    calm = StudyFolder(root / "calm")
    study(root, "calm", "--jobs", "2").wait()
    cluster = Cluster(initialize_head=True, head_node_args=NODE)
    second = cluster.add_node(**NODE)
    process = study(root, "chaos", "--engine", "ray", "--address", cluster.address)
    folder = StudyFolder(root / "chaos")
    draw, killed, node_killed_after = random.Random(0), Counter[Path](), None
    last = began = time.monotonic()
    while process.poll() is None:
        time.sleep(0.2)
        done = len(folder.ledger.entries())
        if node_killed_after is None and done >= SEEDS:
            cluster.remove_node(second, allow_graceful=False)
            node_killed_after = done
        busy = {run: pid for run, pid in running(folder).items() if killed[run] < 2}
        if time.monotonic() - last >= KILL_EVERY_S and busy:
            run = draw.choice(sorted(busy))
            os.kill(busy[run], signal.SIGKILL)
            killed[run] += 1
            last = time.monotonic()
    took_s = time.monotonic() - began
    cluster.shutdown()
    one, other = scores(calm), scores(folder)
    equal = sum(one[key] == other.get(key) for key in one)
    return {
        "runs": len(one),
        "exit_code": process.returncode,
        "finished": sum(entry["outcome"] == "finished" for entry in other.values()),
        "equal_to_undisturbed": equal,
        "journal_lines": len(folder.ledger.path.read_text().splitlines()),
        "processes_killed": killed.total(),
        "runs_killed": len(killed),
        "node_killed_after_runs": node_killed_after,
        "took_s": round(took_s),
        "holds": equal == len(one) == 2 * SEEDS and killed.total() > 0 and node_killed_after is not None,
    }


def retries(root: Path) -> dict[str, Any]:
    """Of one run of four; the others are left alone."""
    process = study(root, "retries", "--engine", "ray", "--jobs", "1", seeds=2)
    folder, killed = StudyFolder(root / "retries"), set()
    victim = folder.run("flip", 0).path
    while process.poll() is None:
        time.sleep(0.05)
        with suppress(OSError, TypeError, ProcessLookupError):
            if (pid := holder(victim)) not in killed:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
    return outcome(process, folder, killed_times=len(killed), failed=[("flip", 0)])


def memory(root: Path) -> dict[str, Any]:
    """The guard is told that memory is full from the first byte."""
    full = {"RAY_memory_usage_threshold": "0.0001", "RAY_memory_monitor_refresh_ms": "250"}
    process = study(root, "memory", "--engine", "ray", "--jobs", "1", seeds=2, epochs=2000, environment=full)
    process.wait()
    folder = StudyFolder(root / "memory")
    return outcome(process, folder, failed=sorted(folder.ledger.entries()))


def outcome(
    process: subprocess.Popen, folder: StudyFolder, *, failed: list[tuple[str, int]], **more: Any
) -> dict[str, Any]:
    entries = folder.ledger.entries()
    lost = {key: entry for key, entry in entries.items() if entry.outcome == "failed"}
    return {
        "exit_code": process.returncode,
        "runs": len(entries),
        "failed": len(lost),
        "reasons": sorted({str(entry.reason) for entry in lost.values()}),
        **more,
        "holds": len(entries) == 4 and sorted(lost) == failed and more.get("killed_times", 4) == 4,
    }


def orphans(root: Path) -> dict[str, Any]:
    left, gone_s = [], []
    for number in range(3):
        process = study(root, f"orphans{number}", "--engine", "ray", "--jobs", "1", epochs=2000)
        folder = StudyFolder(root / f"orphans{number}")
        while not running(folder):
            assert process.poll() is None, "the study ended by itself"
            time.sleep(0.05)
        family = descendants(process.pid)
        process.kill()
        killed = time.monotonic()
        while alive(family) and time.monotonic() - killed < 10:
            time.sleep(0.05)
        gone_s.append(round(time.monotonic() - killed, 1))
        left.append(len(alive(family)))
    return {"processes": len(family), "left_after_10_s": left, "gone_after_s": gone_s, "holds": not any(left)}


def study(
    root: Path,
    name: str,
    *more: str,
    seeds: int = SEEDS,
    epochs: int = EPOCHS,
    environment: dict[str, str] | None = None,
) -> subprocess.Popen:
    """`toynet study`, begun."""
    file = root / f"{name}.toml"
    file.write_text(toml(seeds=seeds, epochs=epochs))
    toynet = [sys.executable, "-c", "from toynet.cli.app import main; main()"]
    return subprocess.Popen(
        [*toynet, "study", str(file), *more],
        env=os.environ | {"TOYNET_STUDIES": str(root)} | (environment or {}),
        stdout=subprocess.DEVNULL,
        stderr=sys.stderr,
    )


def running(folder: StudyFolder) -> dict[Path, int]:
    """The runs that have an epoch behind them and go on just now, and by which process."""
    done, found = folder.ledger.entries(), dict[Path, int]()
    for arm in ("control", "flip"):
        for seed in range(SEEDS):
            with suppress(OSError, TypeError):
                if (arm, seed) not in done and folder.run(arm, seed).metrics():
                    found[folder.run(arm, seed).path] = holder(folder.run(arm, seed).path)
    living = alive(dict.fromkeys(found.values(), ""))
    return {run: pid for run, pid in found.items() if pid in living}


def scores(folder: StudyFolder) -> dict[tuple[str, int], dict[str, Any]]:
    """All of every run that does not depend on the clock."""
    return {key: entry.model_dump(exclude=TIMED) for key, entry in folder.ledger.entries().items()}


if __name__ == "__main__":
    main()
