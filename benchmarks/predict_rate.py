"""How many pictures a second `toynet predict` classifies, from the command to its last line.

TOYNET_DATA=... python benchmarks/predict_rate.py > results/predict/predict-rate.json

Trains two small networks on CIFAR-10 for an epoch, writes 10,000 of its images as JPEG and as PNG files, and
has the command classify each folder, in turns. `whole_s` begins with the process, so it holds the loading of
torch and of the run; `pictures_per_s` is of the whole, and `further_pictures_per_s` of what 8,000 more cost
beyond 2,000. `model alone` is the network on pixels in memory. Takes minutes; the
machine should be idle.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image

import toynet
from toynet.core.environment import busy_cores, describe
from toynet.data.sources import load
from toynet.data.spec import DataSpec

FEW, MANY, ROUNDS = 2_000, 10_000, 3
MODELS = {
    "quick": {},
    "toynet14, widths 16 to 128": {"model.name": "toynet14", "model.widths": [16, 32, 64, 128]},
}
ENDINGS = "jpg", "png"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        images = load(DataSpec(name="cifar10")).test.images[:MANY]
        for ending in ENDINGS:
            write(images, room / ending, ending)
        runs = {}
        for model, changes in MODELS.items():
            changes = {**changes, "train.epochs": 1}
            runs[model] = toynet.train(
                "quick", data="cifar10", name=f"run{len(runs)}", overrides=changes, root=room
            )
        busy = busy_cores()
        found = {model: measured(run.path, images, room) for model, run in runs.items()}
    print(
        json.dumps(
            {
                "pictures": MANY,
                "models": found,
                "threads": torch.get_num_threads(),
                "cores busy with other work before timing": busy,
                "environment": describe(),
            },
            indent=2,
        )
    )


def measured(run: Path, images: np.ndarray, room: Path) -> dict[str, object]:
    """Medians and ranges of `ROUNDS`, for each kind of file, and for the network alone."""
    seconds: dict[tuple[str, int], list[float]] = {}
    alone: list[float] = []
    classifier = toynet.load(run)
    for number in range(ROUNDS):
        for ending in ENDINGS:
            for count in (FEW, MANY):
                seconds.setdefault((ending, count), []).append(command_s(run, room / ending / str(count)))
        started = time.perf_counter()
        classifier.probabilities(images)
        alone.append(len(images) / (time.perf_counter() - started))
        print(f"{run.name}, round {number + 1} of {ROUNDS}", file=sys.stderr)
    found: dict[str, object] = {"model alone, images_per_s": spread(alone)}
    for ending in ENDINGS:
        few, many = seconds[ending, FEW], seconds[ending, MANY]
        found[ending] = {
            "whole_s": spread(many),
            "pictures_per_s": spread([MANY / value for value in many]),
            "further_pictures_per_s": spread(
                [(MANY - FEW) / (whole - part) for whole, part in zip(many, few, strict=True)]
            ),
        }
    return found


def command_s(run: Path, folder: Path) -> float:
    """Seconds of `toynet predict RUN FOLDER --json`; every picture must have its line."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "toynet", "predict", str(run), str(folder), "--json"],
        check=True,
        capture_output=True,
    )
    seconds = time.perf_counter() - started
    assert len(done.stdout.splitlines()) == len(os.listdir(folder))
    return seconds


def write(images: np.ndarray, room: Path, ending: str) -> None:
    """`MANY` files, and links to the first `FEW` of them in a folder beside."""
    for count in (FEW, MANY):
        (room / str(count)).mkdir(parents=True)
    for number, image in enumerate(images):
        path = room / str(MANY) / f"{number:05}.{ending}"
        Image.fromarray(image).save(path)
        if number < FEW:
            os.link(path, room / str(FEW) / path.name)


def spread(values: list[float]) -> dict[str, float]:
    return {
        "median": float(f"{median(values):.4g}"),
        "lowest": float(f"{min(values):.4g}"),
        "highest": float(f"{max(values):.4g}"),
    }


if __name__ == "__main__":
    main()
