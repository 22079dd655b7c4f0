"""How speed and memory grow with width, depth, batch, micro-batch, threads and data.

python benchmarks/scaling.py OUT.json       (about ten minutes, on an otherwise idle machine)

Each case takes the loop's own steps on random images (`toynet.speed`) in bf16 with the kernels that are
faster, and records images per second with quartiles, FLOP/s and the most memory occupied. Time against
data is a real one-epoch training each, on `glyphs`, from start to sealed result. `scaling_plot.py` draws it.
"""

import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

import toynet
from toynet.core.environment import busy_cores, describe
from toynet.core.files import write_json
from toynet.core.memory import keep_freed_memory
from toynet.core.reporter import Silent
from toynet.models.cost import cost
from toynet.runs import setups, subject
from toynet.runs.recipe import Recipe
from toynet.speed import images
from toynet.speed.steps import training
from toynet.training.setup import on_threads, stated

SECONDS = 4.0
NARROW, WIDE = [16, 32, 64, 128], [64, 128, 256, 512]
BATCHES = (8, 16, 32, 64, 128, 256, 512, 1024)
PIECES = (16, 32, 64, 128, 256, 512)
IMAGES = (500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000)


def main() -> None:
    record = {"busy_cores": busy_cores(), "environment": describe()}
    # A process each, for freed memory is kept and would count for all that follow.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
        record["cases"] = [pool.submit(case, **each).result() for each in cases()]
        record["data"] = [pool.submit(epoch, count).result() for count in IMAGES]
    write_json(Path(sys.argv[1]), record)


def cases():
    """Arguments of every case: the figure it belongs to, the value on that figure's axis, and what is set."""
    for first in (8, 16, 24, 32, 48, 64, 96, 128):
        yield {"figure": "width", "at": first, "widths": [first, 2 * first, 4 * first, 8 * first]}
    for name in ("toynet12", "toynet14", "toynet18", "toynet34", "toynet50"):
        yield {"figure": "depth", "at": name, "name": name, "widths": NARROW}
    for title, widths in (("narrow", NARROW), ("wide", WIDE)):
        for batch in BATCHES:
            yield {"figure": f"batch, {title}", "at": batch, "widths": widths, "batch": batch}
        for piece in PIECES:
            figure = f"micro-batch of 512, {title}"
            yield {"figure": figure, "at": piece, "widths": widths, "batch": 512, "micro_batch": piece}
        for threads in range(1, (os.cpu_count() or 1) + 1):
            yield {"figure": f"threads, {title}", "at": threads, "widths": widths, "threads": threads}


def case(figure, at, widths, name="toynet14", batch=128, micro_batch=None, threads=None):
    """Steps of one recipe."""
    keep_freed_memory()
    changes = {
        "model.name": name,
        "model.widths": widths,
        "train.batch_size": batch,
        "train.micro_batch": micro_batch,
        "train.precision": "bf16",
        "train.threads": threads or torch.get_num_threads(),
    }
    recipe = Recipe.load("default", changes)
    card = images.card(recipe.data, None, Silent())
    recipe = setups.resolve(recipe, card, Silent())
    size = cost(subject.build_model(recipe, card), card.image_shape)
    with on_threads(stated(recipe.train).threads):
        found = training(recipe, card, SECONDS)
    print(figure, at, f"{found.images_per_s.median:.0f} images/s", flush=True)
    return {
        "figure": figure,
        "at": at,
        "setup": str(stated(recipe.train)),
        "images_per_s": found.images_per_s.model_dump(),
        "step_ms": found.step_ms.model_dump(),
        "gflops": 6 * size.macs * found.images_per_s.median / 1e9,
        "peak_resident_mib": found.peak_resident_mib,
        "macs": size.macs,
        "parameters": size.parameters,
    }


def epoch(count: int):
    """One epoch of narrow ToyNet14 on `count` glyphs: seconds in all, and of training alone."""
    changes = {"data.name": f"glyphs:{count}", "train.epochs": 1, "train.precision": "bf16"}
    with tempfile.TemporaryDirectory() as root:
        started = time.perf_counter()
        run = toynet.train("quick", overrides=changes, root=Path(root))
        seconds = time.perf_counter() - started
    print("data", count, f"{seconds:.1f} s", flush=True)
    return {"images": count, "seconds": seconds, "train_s": run.result.train_s}


if __name__ == "__main__":
    main()
