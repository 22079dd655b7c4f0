"""A folder of many small image files: decoded, mapped, trained on; how fast, and in how much memory.

python benchmarks/own_data.py --count 500000 > results/own-data/own-data.json

Writes JPEG files made from CIFAR-10 (in $TOYNET_DATA; each copy rolled and brightened in its own way) into a
temporary folder, reads that folder twice, and trains a small network for a few seconds at a time: on the
mapped images; on the same images copied into memory; and on the mapped ones after the system was made to
forget them, so that each comes from the disk, with and without reading ahead. Then, as root on Linux, it
trains in a memory cgroup that has room for a fifth of the pixels, a machine smaller than its images. Needs
about 5 KB of disk and an inode for each image, and takes about 15 minutes for 500,000 on two cores.
"""

import argparse
import json
import mmap
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from toynet.core.environment import describe
from toynet.core.errors import Interrupted
from toynet.core.memory import keep_freed_memory
from toynet.core.reporter import Silent
from toynet.data.images import ImageSet, source_and_rows
from toynet.data.sources import load
from toynet.data.spec import DataSpec
from toynet.runs import subject
from toynet.runs.recipe import Recipe
from toynet.training import loop, mapped
from toynet.training.images import TrainingImages
from toynet.training.interrupts import StopFlag
from toynet.training.learner import Learner

CLASSES, TEST_EVERY, ROUNDS, SECONDS = 10, 50, 5, 6.0
MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")
LITTLE, FILL_SECONDS = 5, 60.0
"""Pixels are that many times what the memory group has room for, and how long until it surely is full."""

CHANGES = {
    "model.widths": [16, 16, 16, 16],
    "train.precision": "fp32",
    "train.kernels": "direct",
    "train.memory_format": "channels_last",
    "train.threads": 1,
    "train.epochs": 1000,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=20_000, help="How many files to write.")
    count = parser.parse_args().count
    torch.set_num_threads(1)
    keep_freed_memory()
    with tempfile.TemporaryDirectory(prefix="own-data-") as room:
        os.environ["XDG_CACHE_HOME"] = f"{room}/cache"
        folder = Path(room) / "pictures"
        found = {"files": count, "write_s": timed(lambda: write_files(folder, count))}
        found |= measure(folder, count)
        print(json.dumps({**found, "environment": describe()}, indent=2), flush=True)
        print("removing the files", file=sys.stderr)


def measure(folder: Path, count: int) -> dict[str, object]:
    """Read `folder` twice and train on it."""
    recipe = Recipe.load("quick", {**CHANGES, "data.name": f"folder:{folder}"})
    resident = {"before": resident_mib()}
    clock = Clock()
    first_s = timed(lambda: subject.read(recipe, None, clock))
    again = Clock()
    started = time.perf_counter()
    about = subject.read(recipe, None, again)
    again_s = time.perf_counter() - started
    resident["when read"] = resident_mib()
    data = subject.training_images(about, "cpu")
    trainer = Trainer(recipe, about)
    trainer.rate(data)
    resident["when trained on"] = resident_mib()
    in_memory = replace(data, images=data.images.clone(), mapped=False)
    rates: dict[str, list[float]] = {}
    ways: dict[str, tuple[TrainingImages, bool]] = {
        "in memory": (in_memory, False),
        "mapped": (data, False),
        "mapped, from the disk": (data, True),
        "mapped, from the disk, not read ahead": (replace(data, mapped=False), True),
    }
    for number in range(ROUNDS):
        for name, (images, forget_first) in ways.items():
            if forget_first:
                forget(about.split.train)
            rates.setdefault(name, []).append(trainer.rate(images))
            print(f"round {number + 1}, {name}: {rates[name][-1]:,.0f} images/s", file=sys.stderr)
    little = (
        in_little_memory(trainer, about.split.train, data, in_memory)
        if os.access(MEMORY_GROUPS, os.W_OK)
        else None
    )
    return {
        "pixels_mib": round(data.images.nbytes / 2**20),
        "decode_images_per_s": round(count / clock.seconds["decode images"]),
        "first_read_s": {"whole": first_s, **rounded(clock.seconds)},
        "second_read_s": {"whole": round(again_s, 2), **rounded(again.seconds)},
        "resident_mib": resident,
        "train_images_per_s": {name: [round(value) for value in values] for name, values in rates.items()},
        "against_in_memory": {
            name: spread(against(values, rates["in memory"]))
            for name, values in rates.items()
            if name != "in memory"
        },
        "in_little_memory": little,
    }


def in_little_memory(
    trainer: "Trainer", part: ImageSet, data: TrainingImages, in_memory: TrainingImages
) -> dict[str, object]:
    """Train where the pixels do not fit into memory, in turn with training on those that lie in memory.

    A page of a file counts for the group that first touched it, so all are forgotten before.
    """
    group = MEMORY_GROUPS / f"own-data-{os.getpid()}"
    group.mkdir()
    limit = data.images.nbytes // LITTLE
    (group / "memory.limit_in_bytes").write_text(str(limit))
    forget(part)
    with inside(group):
        mapped.prepare(data.images)
        trainer.rate(data, FILL_SECONDS)
    ways: dict[str, Callable[[], object]] = {
        "mapped": lambda: mapped.prepare(data.images),
        "mapped, read around": lambda: owner_of(part).madvise(mmap.MADV_NORMAL),
    }
    rates: dict[str, list[float]] = {"in memory": []}
    read_mib = dict.fromkeys(ways, 0.0)
    for number in range(ROUNDS):
        rates["in memory"].append(trainer.rate(in_memory))
        for name, advise in ways.items():
            before = disk_read_mib()
            with inside(group):
                advise()
                rates.setdefault(name, []).append(trainer.rate(data))
            read_mib[name] += disk_read_mib() - before
            print(
                f"little memory, round {number + 1}, {name}: {rates[name][-1]:,.0f} images/s", file=sys.stderr
            )
    peak = int((group / "memory.max_usage_in_bytes").read_text())
    refused = int((group / "memory.failcnt").read_text())
    forget(part)
    (group / "memory.force_empty").write_text("0")
    group.rmdir()
    return {
        "limit_mib": round(limit / 2**20),
        "most_used_mib": round(peak / 2**20),
        "times_the_limit_was_met": refused,
        "read_from_disk_mib": {name: round(value) for name, value in read_mib.items()},
        "train_images_per_s": {name: [round(value) for value in values] for name, values in rates.items()},
        "against_in_memory": {name: spread(against(rates[name], rates["in memory"])) for name in ways},
    }


@contextmanager
def inside(group: Path) -> Iterator[None]:
    """What this process takes meanwhile, pages of files included, counts for `group`."""
    (group / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        (MEMORY_GROUPS / "cgroup.procs").write_text(str(os.getpid()))


def disk_read_mib() -> float:
    """That this process had fetched from disks so far."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) / 2**20 for line in lines if line.startswith("read_bytes"))


def against(values: list[float], others: list[float]) -> list[float]:
    return [one / other for one, other in zip(values, others, strict=True)]


def spread(ratios: list[float]) -> dict[str, float]:
    """Of the rounds, each within itself: the machine's other work changes from round to round."""
    found = {"median": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}
    return rounded(found)


class Clock(Silent):
    """Seconds for each task."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._task, self._started = "", 0.0

    def begin(self, task: str, total: int, unit: str) -> None:
        self._task, self._started = task, time.perf_counter()

    def advance(self, units: int) -> None:
        self.seconds[self._task] = time.perf_counter() - self._started


class Trainer:
    """The real loop, stopped after some seconds and gone on with, always with the same model."""

    def __init__(self, recipe: Recipe, about: subject.Subject) -> None:
        self._plan = subject.plan(recipe, about.card)
        model = subject.first_model(recipe, about, "cpu")
        self._learner = Learner.fresh(model, recipe.optim, recipe.train)

    def rate(self, data: TrainingImages, seconds: float = SECONDS) -> float:
        """Images per second, from the second step on."""
        stop = StopFlag()
        watch = Watch(stop, seconds)
        with suppress(Interrupted):
            loop.train(
                self._learner,
                self._plan,
                data,
                validate=None,
                record=lambda record: None,
                save=lambda learner: None,
                stop=stop,
                reporter=watch,
            )
        return watch.images / (watch.last - watch.first)


class Watch(Silent):
    """Counts images from the second step on, and stops after `seconds`."""

    def __init__(self, stop: StopFlag, seconds: float) -> None:
        self._stop, self._seconds, self.images, self.first, self.last = stop, seconds, 0, 0.0, 0.0

    def advance(self, units: int) -> None:
        self.last = time.perf_counter()
        if not self.first:
            self.first = self.last
            return
        self.images += units
        if self.last - self.first > self._seconds:
            self._stop.signal_number = 15


def forget(part: ImageSet) -> None:
    """Unmap the pages of the file that `part` lies in, and have the system drop them."""
    owner_of(part).madvise(mmap.MADV_DONTNEED)
    for file in Path(os.environ["XDG_CACHE_HOME"]).rglob("images.npy"):
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def owner_of(part: ImageSet) -> mmap.mmap:
    owner: object = source_and_rows(part.images)[0]
    while isinstance(owner, np.ndarray):
        owner = owner.base
    assert isinstance(owner, mmap.mmap)
    return owner


def write_files(folder: Path, count: int) -> None:
    for part in ("train", "test"):
        for label in range(CLASSES):
            (folder / part / f"class{label}").mkdir(parents=True)
    each = -(-count // 64)
    with ProcessPoolExecutor() as pool:
        list(pool.map(write_some, [folder] * 64, range(0, count, each), [each] * 64, [count] * 64))


def write_some(folder: Path, first: int, many: int, count: int) -> None:
    """Files number `first` and on; each copy of an image is rolled and brightened differently."""
    train = load(DataSpec(name="cifar10")).train
    for number in range(first, min(first + many, count)):
        copy, index = divmod(number, len(train))
        rolled = np.roll(train.images[index], (copy % 5 - 2, copy // 5 - 2), axis=(0, 1))
        pixels = (rolled.astype(int) + 6 * copy).clip(0, 255).astype(np.uint8)
        part = "test" if number % TEST_EVERY == 0 else "train"
        path = folder / part / f"class{train.labels[index]}" / f"{number:07}.jpg"
        Image.fromarray(pixels).save(path, quality=90)


def resident_mib() -> dict[str, int]:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {key: int(lines[key].split()[0]) // 1024 for key in ("RssAnon", "RssFile")}


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return round(time.perf_counter() - started, 2)


def rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {task: round(value, 2) for task, value in seconds.items()}


if __name__ == "__main__":
    main()
