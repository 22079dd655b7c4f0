"""What a GPU makes of training: python benchmarks/gpu.py OUT.json

Each case trains on random images by the loop that `toynet train` runs, in bf16, with torch's kernels and with
those of `torch.compile`. Told are the seconds to the end of the first step, compiling included, and images
per second in the last epoch, beside the rate of the matrix product in the same process. Needs CUDA.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import torch

from toynet.core.environment import describe
from toynet.core.files import write_json
from toynet.core.records import EpochRecord
from toynet.core.reporter import Silent
from toynet.models.cost import FLOP_PER_MAC, PASSES, cost
from toynet.runs import subject
from toynet.runs.recipe import Recipe
from toynet.speed import images
from toynet.speed.clock import now
from toynet.speed.limits import limits
from toynet.training import loop
from toynet.training.interrupts import StopFlag
from toynet.training.learner import Learner
from toynet.training.precision import repeatable
from toynet.training.setup import prepare

NARROW, WIDE = [16, 32, 64, 128], [64, 128, 256, 512]
CASES = (
    ("fast", {}),
    ("report/base", {"model.name": "toynet14", "model.widths": NARROW, "train.batch_size": 32}),
    ("report/base", {"model.name": "toynet14", "model.widths": NARROW, "train.batch_size": 128}),
    ("report/base", {"model.name": "toynet14", "model.widths": WIDE, "train.batch_size": 128}),
    ("report/base", {"model.name": "toynet14", "model.widths": WIDE, "train.batch_size": 512}),
)
EPOCHS = 3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    asked = parser.parse_args()
    limit = limits("cuda", seconds=3.0)
    cases = []
    for recipe, changes in CASES:
        for kernels in ("direct", "compiled"):
            found = case(recipe, changes | {"train.kernels": kernels})
            found["of_bf16_limit"] = found["gflops"] / limit.bf16_gflops
            cases.append(found)
            print(found, flush=True)
    about = {"gpu": torch.cuda.get_device_name(), "environment": describe()}
    write_json(asked.out, {**about, "limits": limit.model_dump(mode="json"), "cases": cases})


def case(recipe_name: str, changes: dict[str, Any]) -> dict[str, Any]:
    """One case's record."""
    stated = {"train.precision": "bf16", "train.memory_format": "channels_last", "train.threads": 1}
    recipe = Recipe.load(recipe_name, changes | stated | {"train.epochs": EPOCHS, "train.freeze": {}})
    card = images.card(recipe.data, None, Silent())
    data, plan = images.training_images(card, recipe.train.batch_size, "cuda"), subject.plan(recipe, card)
    model = subject.build_model(recipe, card).to("cuda")
    prepare(model, plan.setup)
    records: list[EpochRecord] = []
    ticks: list[float] = []
    started = time.perf_counter()
    with repeatable("cuda"):
        loop.train(
            Learner.fresh(model, recipe.optim, recipe.train),
            plan,
            data,
            validate=None,
            record=records.append,
            save=lambda _: None,
            stop=StopFlag(),
            reporter=_Ticks(ticks),
        )
    macs = cost(model, card.image_shape).macs
    rate = records[-1].images_per_s
    return {
        "recipe": recipe_name,
        "changes": changes,
        "first_step_s": ticks[0] - started,
        "images_per_s": rate,
        "step_ms": 1e3 * recipe.train.batch_size / rate,
        "gflops": rate * PASSES * FLOP_PER_MAC * macs / 1e9,
        "peak_memory_mib": torch.cuda.max_memory_allocated() / 2**20,
    }


class _Ticks(Silent):
    """Notes when each step has ended."""

    def __init__(self, ticks: list[float]) -> None:
        self.ticks = ticks

    def advance(self, units: int) -> None:
        self.ticks.append(now("cuda"))


if __name__ == "__main__":
    if not torch.cuda.is_available():
        raise SystemExit("benchmarks/gpu.py needs a GPU that torch can use by CUDA; there is none")
    main()
