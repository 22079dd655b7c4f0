"""Looking for `fast` on a GPU: python benchmarks/find_fast.py OUT.json --seconds 300 --jobs 14

First single changes to the recipe as it was until then, over as many seeds as there is time for, scored on
validation images. Then what helped is put together, at several lengths. Last, the best two on test, trained
on all 50,000 images with seeds that have not been used: the only reads of test images. Needs CUDA, and
CIFAR-10 in $TOYNET_DATA.
"""

import argparse
import functools
import itertools
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from pathlib import Path
from typing import Any

from toynet.core.environment import describe
from toynet.core.files import write_json

Changes = dict[str, Any]

STAGES = 0.5, 0.75
"""Shares of the time after which no run of the first and of the second stage is begun."""

WORTHWHILE = 0.10
"""Points over the recipe as it is, for a single change to be taken on."""

BEFORE: Changes = {
    "augment.crop_pad_px": 2,
    "loss.label_smoothing": 0.2,
    "model.dropout": 0.0,
    "optim.lr": 0.12,
    "optim.aux_lr": 0.01,
    "train.epochs": 10,
    "train.micro_batch": 250,
    "train.freeze": {"whiten": 0.4, "group1": 0.6},
}
"""What `fast` was before this search."""

SMALL = {"side_px": 24, "until": 0.4}
SINGLE: dict[str, dict[str, Changes]] = {
    "augment": {
        "crop 3": {"augment.crop_pad_px": 3},
        "crop 4": {"augment.crop_pad_px": 4},
        "cutout 6": {"augment.cutout_px": 6},
        "cutout 10": {"augment.cutout_px": 10},
        "crop 3, cutout 6": {"augment.crop_pad_px": 3, "augment.cutout_px": 6},
    },
    "rate": {"rate 0.09": {"optim.lr": 0.09}, "rate 0.16": {"optim.lr": 0.16}},
    "momentum": {"momentum 0.75": {"optim.momentum": 0.75}},
    "others' rate": {"aux 0.02": {"optim.aux_lr": 0.02}, "aux 0.005": {"optim.aux_lr": 0.005}},
    "smoothing": {"smoothing 0.1": {"loss.label_smoothing": 0.1}},
    "average": {"ema 0.99": {"train.ema": 0.99}},
    "freezing": {"group1 to 0.8": {"train.freeze": {"whiten": 0.4, "group1": 0.8}}},
    "pieces": {
        "pieces of 125": {"train.micro_batch": 125},
        "pieces of 500": {"train.micro_batch": 500},
        "batch 250": {"train.batch_size": 250, "optim.lr": 0.085},
        "batch 1000": {"train.batch_size": 1000, "optim.lr": 0.17},
    },
    "shape": {"cosine": {"schedule.shape": "cosine"}},
    "dropout": {"dropout 0.2": {"model.dropout": 0.2}},
}
LENGTHS: dict[str, Changes] = {
    "8 epochs": {"train.epochs": 8},
    "10 epochs": {},
    "12 epochs": {"train.epochs": 12},
    "10 epochs, small": {"train.small": SMALL},
    "12 epochs, small": {"train.epochs": 12, "train.small": SMALL},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--jobs", type=int, default=14)
    asked = parser.parse_args()
    began = time.perf_counter()
    first, second, last = (began + share * asked.seconds for share in (*STAGES, 1.0))
    record: dict[str, Any] = {"environment": describe(), "runs": []}
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(asked.jobs, multiprocessing.get_context("spawn")) as pool,
    ):
        make = functools.partial(run, Path(folder))

        def stage(arms: dict[str, Changes], seeds: Iterable[int], until: float, *, final: bool) -> None:
            jobs = ((name, arms[name], seed, final) for seed in seeds for name in arms)
            for found in side_by_side(pool, asked.jobs, make, jobs, until):
                record["runs"].append(found)
            write_json(asked.out, record)
            for name in arms:
                print(line(name, scores(record, name, final=final)), flush=True)
            print(f"-- {time.perf_counter() - began:.0f} s", flush=True)

        singles = {name: changes for group in SINGLE.values() for name, changes in group.items()}
        stage({"as it is": {}, **singles}, itertools.count(), first, final=False)
        helping = combined(record)
        print("taken on:", helping, flush=True)
        arms = {f"combined, {name}": helping | length for name, length in LENGTHS.items()}
        stage(arms, itertools.count(), second, final=False)
        best = sorted(arms, key=lambda name: -mean(scores(record, name, final=False)))[:2]
        stage({name: arms[name] for name in best}, itertools.count(100), last, final=True)


def side_by_side(
    pool: ProcessPoolExecutor, jobs: int, make: Any, arguments: Iterable[tuple[Any, ...]], until: float
) -> Iterator[dict[str, Any]]:
    """What becomes of `arguments`, `jobs` at once; none is begun after `until`."""
    waiting, running = iter(arguments), set()
    while True:
        while len(running) < jobs and time.perf_counter() < until and (each := next(waiting, None)):
            running.add(pool.submit(make, *each))
        if not running:
            return
        done, running = wait(running, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)


def run(folder: Path, name: str, changes: Changes, seed: int, final: bool) -> dict[str, Any]:
    """One run of `fast` with `changes`, scored on test if it is a `final` one, else on validation."""
    from toynet.core.errors import Diverged
    from toynet.core.reporter import Silent
    from toynet.runs import execute
    from toynet.runs.recipe import Recipe

    stated = {"train.seed": seed, "data.protocol": "full" if final else "standard", "eval.test": final}
    stated |= {"train.precision": "bf16", "train.kernels": "direct", "train.threads": 1}
    stated |= {"train.memory_format": "channels_last", "train.checkpoint_every": 1000}
    recipe = Recipe.load("fast", BEFORE | changes | stated)
    started = time.perf_counter()
    path = folder / f"{name}-{seed}-{final}".replace(" ", "_").replace(",", "")
    found: dict[str, Any] = {"arm": name, "changes": changes, "seed": seed, "final": final}
    try:
        result = execute.start(
            recipe, path, data_root=None, reporter=Silent(), illustrate=_nothing, about=about(final)
        )
    except Diverged as error:
        return found | {"accuracy": 0.1, "diverged": str(error)}
    accuracy = result.test_accuracy if final else result.val_accuracy
    return found | {"accuracy": accuracy, "train_s": result.train_s, "s": time.perf_counter() - started}


@functools.cache
def about(final: bool) -> Any:
    """The images and their split, read once in a process."""
    from toynet.core.reporter import Silent
    from toynet.runs import subject
    from toynet.runs.recipe import Recipe

    recipe = Recipe.load("fast", {"data.name": "cifar10", "data.protocol": "full" if final else "standard"})
    return subject.read(recipe, None, Silent())


def combined(record: dict[str, Any]) -> Changes:
    """Of every group the change that helped most, where it is worthwhile."""
    base = mean(scores(record, "as it is", final=False))
    taken: Changes = {}
    for group in SINGLE.values():
        best = max(group, key=lambda name: mean(scores(record, name, final=False)))
        if mean(scores(record, best, final=False)) >= base + WORTHWHILE:
            taken |= group[best]
    return taken


def scores(record: dict[str, Any], name: str, *, final: bool) -> list[float]:
    """Percent, by seed."""
    runs = [found for found in record["runs"] if found["arm"] == name and found["final"] == final]
    return [100 * found["accuracy"] for found in sorted(runs, key=lambda found: found["seed"])]


def mean(values: list[float]) -> float:
    return statistics.mean(values) if values else 0.0


def line(name: str, found: list[float]) -> str:
    return f"{name:28} {mean(found):6.2f}  " + " ".join(f"{value:.2f}" for value in found)


def _nothing(_: object) -> None:
    """No pictures."""


if __name__ == "__main__":
    main()
