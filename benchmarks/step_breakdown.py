"""Where a training step's time goes: python benchmarks/step_breakdown.py RECIPE [key=value ...]

Times the parts of the loop's own step (the same functions, the same order) on random bytes shaped like
CIFAR-10, and prints JSON: median milliseconds of each part and the share that is not forward, backward or
optimiser. Run it on an otherwise idle machine.
"""

import json
import statistics
import sys
import time

import numpy as np
import torch

from toynet.augment import pipeline
from toynet.augment.standardise import Standardiser
from toynet.core.environment import describe
from toynet.core.seeds import derive
from toynet.data import batches
from toynet.models import catalog
from toynet.runs.recipe import Recipe, parse_value
from toynet.training import losses, optimizers, schedules
from toynet.training.learner import Learner
from toynet.training.loop import TrainingImages, forward_backward, gradient_norm, load

IMAGES, WARM_UP, STEPS = 20_000, 10, 60
PARTS = ("load", "augment", "forward_backward", "gradient_norm", "optimiser", "bookkeeping")


def main() -> None:
    name, *pairs = sys.argv[1:]
    recipe = Recipe.load(
        name, {key: parse_value(value) for key, _, value in (p.partition("=") for p in pairs)}
    )
    times = list(steps(recipe))[WARM_UP:]
    median = {part: statistics.median(step[part] for step in times) * 1e3 for part in PARTS}
    total = sum(median.values())
    work = median["forward_backward"] + median["gradient_norm"] + median["optimiser"]
    print(
        json.dumps(
            {
                "recipe": name,
                "changes": pairs,
                "median_ms": {part: round(value, 3) for part, value in median.items()},
                "images_per_s": round(recipe.train.batch_size / total * 1e3, 1),
                "share_outside_forward_backward_optimiser": round(1 - work / total, 4),
                "precision": recipe.train.precision,
                "threads": torch.get_num_threads(),
                "environment": describe(),
            },
            indent=2,
        )
    )


def steps(recipe: Recipe):
    """Run the loop's step and yield the seconds of each part."""
    generator = np.random.default_rng(0)
    device = "cpu"
    data = TrainingImages(
        torch.from_numpy(generator.integers(0, 256, (IMAGES, 32, 32, 3), dtype=np.uint8)),
        torch.from_numpy(generator.integers(0, 10, IMAGES)),
        Standardiser.of(np.full(3, 120, np.float32), np.full(3, 60, np.float32), width=32, device=device),
    )
    model = catalog.build(recipe.model, classes=10, image_shape=(32, 32, 3), seed=0)
    learner = Learner.fresh(model, recipe.optim, recipe.train)
    loss_function = losses.build(recipe.loss)
    size = recipe.train.batch_size
    rate = schedules.build(recipe.schedule, epochs=recipe.train.epochs, steps_per_epoch=IMAGES // size)
    precision = "fp32" if recipe.train.precision == "fp32" else "bf16"
    order = batches.order(IMAGES, seed=0, epoch=0)
    draws = pipeline.draw(recipe.augment, order, seed=0, epoch=0)
    indices = torch.from_numpy(order)
    for number, rows in zip(range(WARM_UP + STEPS), batches.batches(IMAGES, size), strict=False):
        marks = [time.perf_counter()]
        images, labels = load(data, indices[rows])
        marks.append(time.perf_counter())
        images, labels = pipeline.augment(recipe.augment, images, labels, draws, rows, classes=10)
        marks.append(time.perf_counter())
        forward_backward(model, loss_function, images, labels, precision, recipe.train.micro_batch)
        marks.append(time.perf_counter())
        gradient_norm(model, recipe.optim.clip_norm)
        marks.append(time.perf_counter())
        for optimizer in learner.optimizers:
            optimizer.step()
        marks.append(time.perf_counter())
        torch.manual_seed(derive(0, "dropout", number))
        optimizers.set_rate(learner.optimizers, rate(number))
        marks.append(time.perf_counter())
        yield dict(zip(PARTS, np.diff(marks).tolist(), strict=True))


if __name__ == "__main__":
    main()
