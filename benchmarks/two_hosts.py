"""Two machines on one: python benchmarks/two_hosts.py, as root on Linux.

Two network namespaces joined by a virtual cable stand for two hosts. Each gets a torchrun with one rank and a
runs folder of its own; together they train a small run, and so do two ranks on one host. Compared are the
histories and the logits on test images, which must be the same bits; the second host must have written
nothing. Then a run's second host is killed, and one process goes on with it. Writes results/two-hosts.json;
the namespaces are taken down at the end.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from toynet.core.environment import describe
from toynet.core.files import write_json

OUT = Path(__file__).parents[1] / "results" / "two-hosts.json"
HOSTS = {"toynet-a": "10.77.0.1", "toynet-b": "10.77.0.2"}
CABLE, PORT, MOST_S = "veth-toynet", 29533, 300
TRAIN = ["-m", "toynet", "train", "quick", "--data", "glyphs:600", "--name", "run"]
SET = [
    *("--set", "model.widths=[4,8,8,8]", "--set", "train.epochs=3", "--set", "train.precision=fp32"),
    *("--set", "train.kernels=direct", "--set", "train.memory_format=channels_last"),
    *("--set", "train.checkpoint_every=1"),
]


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as folder, hosts():
        root = Path(folder)
        one = root / "one"
        finish(start("", one, "--nproc-per-node", "2"))
        started = time.perf_counter()
        pair = [start(host, root / host, *across(host)) for host in HOSTS]
        codes = [finish(process) for process in pair]
        wall_s = time.perf_counter() - started
        first, second = (root / host for host in HOSTS)
        found: dict[str, Any] = {
            "exit_codes": codes,
            "same_history": history(first) == history(one),
            "same_logits": bool(np.array_equal(logits(first), logits(one))),
            "second_host_wrote": sorted(str(path.relative_to(second)) for path in second.rglob("*")),
            "wall_s": round(wall_s, 1),
        } | lose_a_host(root / "lost", root / "lost-b")
    versions = {
        "command": "python benchmarks/two_hosts.py",
        "commit": subprocess.check_output(["git", "describe", "--always", "--dirty"], text=True).strip(),
        "date": time.strftime("%Y-%m-%d"),
        "environment": describe(),
    }
    write_json(OUT, versions | found)
    print(json.dumps(found, indent=2))
    right = found["same_history"] and found["same_logits"] and not found["second_host_wrote"]
    sys.exit(0 if right and codes == [0, 0] and found["went_on_alone"] else 1)


def lose_a_host(first: Path, second: Path) -> dict[str, Any]:
    """Kill all of the second host in the middle of a run; one process on the first goes on with it."""
    longer = ["--set", "train.epochs=40"]
    a, b = HOSTS
    pair = [start(host, path, *across(host), more=longer) for host, path in ((a, first), (b, second))]
    until = time.monotonic() + MOST_S
    while len(history(first)) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    pids = subprocess.check_output(["ip", "netns", "pids", b], text=True).split()
    started = time.monotonic()
    subprocess.run(["kill", "-KILL", *pids], check=True)
    code = finish(pair[0])
    seconds = time.monotonic() - started
    finish(pair[1])
    said = (first / "log.txt").read_text()
    alone = subprocess.run(
        [sys.executable, *TRAIN, *SET, *longer, "--resume"], env=environment(first), capture_output=True
    )
    return {
        "host_killed_exit_code": code,
        "host_killed_seconds_to_exit": round(seconds, 1),
        "host_killed_told_once": said.count("error: another rank has ended or does not answer") == 1,
        "went_on_alone": alone.returncode == 0 and len(history(first)) == 40,
    }


@contextmanager
def hosts() -> Iterator[None]:
    """The two namespaces, their addresses, and the cable between them."""
    (a, address_a), (b, address_b) = HOSTS.items()
    try:
        for host in HOSTS:
            ip("netns", "add", host)
        ip("link", "add", f"{CABLE}-a", "netns", a, "type", "veth", "peer", f"{CABLE}-b", "netns", b)
        for host, end, address in ((a, f"{CABLE}-a", address_a), (b, f"{CABLE}-b", address_b)):
            ip("-n", host, "addr", "add", f"{address}/24", "dev", end)
            ip("-n", host, "link", "set", end, "up")
            ip("-n", host, "link", "set", "lo", "up")
        yield
    finally:
        for host in HOSTS:
            subprocess.run(["ip", "netns", "del", host], check=False, stderr=subprocess.DEVNULL)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def across(host: str) -> list[str]:
    """torchrun's options on `host` for one rank on each of the two."""
    place = list(HOSTS).index(host)
    meeting = f"{next(iter(HOSTS.values()))}:{PORT}"
    return [
        *("--nnodes", "2", "--nproc-per-node", "1", "--node-rank", str(place)),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", meeting, "--rdzv-id", "toynet"),
        *("--rdzv-conf", f"is_host={int(place == 0)}", "--local-addr", HOSTS[host]),
    ]


def start(host: str, runs: Path, *options: str, more: list[str] | None = None) -> subprocess.Popen[bytes]:
    """torchrun inside the namespace `host`, or outside of any."""
    runs.mkdir()
    place = ["ip", "netns", "exec", host] if host else []
    log = runs / "log.txt" if host != "toynet-b" else Path(os.devnull)
    with log.open("wb") as file:
        return subprocess.Popen(
            [*place, sys.executable, "-m", "torch.distributed.run", *options, *TRAIN, *SET, *(more or [])],
            env=environment(runs) | ({"GLOO_SOCKET_IFNAME": f"{CABLE}-{host[-1]}"} if host else {}),
            stdout=file,
            stderr=file,
        )


def environment(runs: Path) -> dict[str, str]:
    return {**os.environ, "TOYNET_RUNS": str(runs), "OMP_NUM_THREADS": "1"}


def finish(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(MOST_S)
    finally:
        process.kill()


def history(runs: Path) -> list[dict[str, Any]]:
    path = runs / "run" / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [
        {k: v for k, v in json.loads(line).items() if k not in ("elapsed_s", "images_per_s")}
        for line in lines
    ]


def logits(runs: Path) -> np.ndarray:
    with np.load(runs / "run" / "predictions.npz") as arrays:
        found: np.ndarray = arrays["test_logits"]
        return found


if __name__ == "__main__":
    main()
