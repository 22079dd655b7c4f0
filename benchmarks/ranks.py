"""Two ranks with one thread each against one process with two: python benchmarks/ranks.py

Trains ToyNet14 of two widths on built-in images for a few epochs, by the commands that a user would type, in
turn and several times. A rate is that of training steps alone, the median over the epochs after the first
and over the rounds. Batch norm is synchronised or by rank, kernels are torch's or compiled; of those a
synchronised batch norm leaves convolutions and pooling only. Writes results/ranks.json after each round.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from toynet.core.environment import describe
from toynet.core.files import write_json

OUT = Path(__file__).parents[1] / "results" / "ranks.json"
WIDTHS = {"16-128": [16, 32, 64, 128], "64-512": [64, 128, 256, 512]}
TWO_RANKS = ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
WAYS: dict[str, tuple[list[str], int, dict[str, str]]] = {
    "1 process x 2 threads": ([], 2, {"train.kernels": "direct"}),
    "2 ranks x 1 thread, sync": (TWO_RANKS, 1, {"train.kernels": "direct", "train.batch_norm": "sync"}),
    "2 ranks x 1 thread, rank": (TWO_RANKS, 1, {"train.kernels": "direct", "train.batch_norm": "rank"}),
    "1 process x 2 threads, compiled": ([], 2, {"train.kernels": "compiled"}),
    "2 ranks x 1 thread, sync, compiled": (
        TWO_RANKS,
        1,
        {"train.kernels": "compiled", "train.batch_norm": "sync"},
    ),
    "2 ranks x 1 thread, rank, compiled": (
        TWO_RANKS,
        1,
        {"train.kernels": "compiled", "train.batch_norm": "rank"},
    ),
}
COMMON = {
    "model.name": "toynet14",
    "train.batch_size": "128",
    "train.precision": "bf16",
    "train.memory_format": "channels_last",
    "train.checkpoint_every": "1000",
    "data.protocol": "standard",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=4000, help="of the narrow model; the wide one has 2/5")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--beside", action="store_true", help="say that the machine does other work")
    asked = parser.parse_args()
    found: dict[str, dict[str, Any]] = {}
    about = {
        "command": "python " + " ".join(["benchmarks/ranks.py", *sys.argv[1:]]),
        "commit": subprocess.check_output(["git", "describe", "--always", "--dirty"], text=True).strip(),
        "date": time.strftime("%Y-%m-%d"),
        "beside_other_work": asked.beside,
        "environment": describe(),
        "batch_size": 128,
        "precision": "bf16",
    }
    for name, widths in WIDTHS.items():
        images = asked.images if name == "16-128" else asked.images * 2 // 5
        rates: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(asked.rounds):
            for way in WAYS:
                rates[way] += train(way, widths, images, asked.epochs)
                print(name, way, f"{statistics.median(rates[way]):.0f} images/s", flush=True)
            first = statistics.median(rates["1 process x 2 threads"])
            found[name] = {way: spread(values) | against(values, first) for way, values in rates.items()}
            write_json(OUT, about | {"images_per_s": found})


def train(way: str, widths: list[int], images: int, epochs: int) -> list[float]:
    """Images a second, of every epoch but the first."""
    launcher, threads, changes = WAYS[way]
    settings = COMMON | changes | {"model.widths": json.dumps(widths), "train.epochs": str(epochs)}
    with tempfile.TemporaryDirectory() as root:
        command = [sys.executable, *launcher, "-m", "toynet", "train", "quick", "--name", "run"]
        command += ["--data", f"glyphs:{images}", "--threads", str(threads)]
        command += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        environment = os.environ | {"TOYNET_RUNS": root, "OMP_NUM_THREADS": str(threads)}
        subprocess.run(command, check=True, env=environment, capture_output=True)
        lines = (Path(root) / "run" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["images_per_s"] for line in lines[1:]]


def spread(values: list[float]) -> dict[str, float]:
    q25, median, q75 = np.quantile(values, [0.25, 0.5, 0.75]).round().tolist()
    return {"n": len(values), "median": median, "q25": q25, "q75": q75}


def against(values: list[float], first: float) -> dict[str, float]:
    return {"of_one_process": round(statistics.median(values) / first, 3)}


if __name__ == "__main__":
    main()
