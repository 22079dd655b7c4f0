"""Goal 3: a run stopped in the middle of an epoch, at each of its batches, and gone on with."""

import os
import signal
import tempfile
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from reliability import tiny
from toynet.core.errors import Interrupted
from toynet.core.reporter import Silent
from toynet.training import loop
from toynet.training.images import TrainingImages

COUNT = 50
"""Batches at which a run is stopped; the run has 52."""

SHORT = 8


def prove(count: int) -> dict[str, Any]:
    """Stop at `count` batches, evenly over the run, by a real SIGTERM; then go on, and stop no more."""
    one = tiny.recipe(**{"data.name": "glyphs:600", "train.epochs": 4, "train.batch_size": 36})
    about = tiny.images(one)
    repeated = skipped = stopped = equal = 0
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        calm = _watched(place / "calm", one, about, None)
        expected, batches = tiny.digest(place / "calm"), len(calm)
        points = sorted({1 + number * (batches - 1) // count for number in range(count)})
        for point in points:
            path = place / f"stop{point}"
            seen = _watched(path, one, about, point)
            stopped += not (path / "result.json").exists()
            seen += _watched(path, one, about, None)
            repeated += max(0, len(seen) - batches)
            skipped += max(0, batches - len(seen))
            equal += seen == calm and tiny.digest(path) == expected
    return {
        "batches_of_the_run": batches,
        "stops": stopped,
        "batches_repeated": repeated,
        "batches_skipped": skipped,
        "identical_to_undisturbed": equal,
        "workers": "none: images are in memory, batches are made by the training process itself",
        "passed": stopped == len(points) == equal and not repeated and not skipped,
    }


class _Stopping(Silent):
    """Sends this process SIGTERM after so many batches."""

    def __init__(self, after: int | None) -> None:
        self.left = after

    def advance(self, units: int) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGTERM)


def _watched(path: Path, one: tiny.Recipe, about: tiny.Subject, stop_after: int | None) -> list[list[int]]:
    """The images of each batch that was trained on."""
    seen: list[list[int]] = []
    real = loop.load

    def load(data: TrainingImages, indices: Tensor) -> tuple[Tensor, Tensor]:
        seen.append(indices.tolist())
        return real(data, indices)

    may_stop = suppress(Interrupted) if stop_after else nullcontext()
    with patch.object(loop, "load", load), torch.random.fork_rng(), may_stop:
        tiny.run(path, one, about, _Stopping(stop_after))
    return seen
