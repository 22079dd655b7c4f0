"""What an export costs in exactness, accuracy and speed, on the real CIFAR-10.

TOYNET_DATA=... python benchmarks/export.py > results/export/export.json

Trains a narrow ToyNet14 for two epochs, exports it in every format, and prints JSON: the largest difference
of logits on validation images, the accuracy of the float32 and the 8-bit ONNX model on 2,000 of them, and
images a second of torch (float32), of the same network folded, of ONNX and of 8-bit ONNX, in turns. Run it on
an otherwise idle machine; it takes some minutes.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

import toynet
from toynet.core.environment import busy_cores, describe
from toynet.core.reporter import Silent
from toynet.evaluation.predict import evaluating
from toynet.exporting import onnx_file
from toynet.exporting.folding import fold
from toynet.exporting.origin import open_origin

OVERRIDES = {"model.widths": [16, 32, 64, 128], "train.epochs": 2, "augment.crop_pad_px": 4}
BATCHES, ROUNDS = (1, 64, 256), 15


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        print("training", file=sys.stderr)
        run = toynet.train("quick", data="cifar10", name="narrow", overrides=OVERRIDES, root=room)
        suffixes = {"onnx": ".onnx", "torch": ".safetensors", "keras": ".keras"}
        found = {
            kind: toynet.export(run, kind, room / f"m{suffix}", int8=kind == "onnx")
            for kind, suffix in suffixes.items()
        }
        beside = toynet.export(run, "onnx", room / "beside.onnx", preprocessing="beside")
        print("timing", file=sys.stderr)
        busy = busy_cores()
        speeds = timed(run, room)
    told = {kind: one.model_dump(exclude={"run", "files"}) for kind, one in found.items()}
    told["onnx, preprocessing beside"] = beside.model_dump(exclude={"run", "files"})
    print(
        json.dumps(
            {
                "model": "toynet14, widths 16 to 128, quick with crops, 2 epochs, seed 0",
                "exports": told,
                "images_per_s": speeds,
                "threads": torch.get_num_threads(),
                "cores busy with other work before timing": busy,
                "environment": describe() | {"packages": versions()},
            },
            indent=2,
        )
    )


def timed(run: toynet.Run, room: Path) -> dict[str, dict[str, dict[str, float]]]:
    """By batch size and way: median, lowest and highest images a second over the rounds."""
    origin = open_origin(run.folder, which="last", temperature=1, data_root=None, reporter=Silent())
    folded = onnx_file.Answering(fold(origin.model).model, origin, "inside").eval()

    def by_folded(images) -> None:
        with evaluating(folded):
            folded(torch.from_numpy(images))

    ways = {
        "torch": origin.logits,
        "torch, folded": by_folded,
        "onnx": onnx_file.read(room / "m.onnx", origin, "inside"),
        "onnx int8": onnx_file.read(room / "m.int8.onnx", origin, "inside"),
    }
    speeds = {}
    for size in BATCHES:
        images = origin.probe.images[:size]
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        for number in range(ROUNDS + 1):
            for way, work in ways.items():
                started = time.perf_counter()
                work(images)
                if number:
                    seconds[way].append(time.perf_counter() - started)
        speeds[f"batch {size}"] = {
            way: {
                "median": round(size / median(taken), 1),
                "lowest": round(size / max(taken), 1),
                "highest": round(size / min(taken), 1),
            }
            for way, taken in seconds.items()
        }
    return speeds


def versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("toynet-lab", "torch", "onnx", "onnxruntime", "keras", "numpy")}


if __name__ == "__main__":
    main()
