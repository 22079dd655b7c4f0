"""Images per second through the report's affine and through a whole batch's way to the model.

python benchmarks/augment_rate.py       (on an otherwise idle machine; prints JSON)
"""

import json
import statistics
import time

import numpy as np
import torch

from toynet.augment import geometry, pipeline
from toynet.augment.spec import AugmentSpec
from toynet.augment.standardise import Standardiser
from toynet.core.environment import describe
from toynet.data import batches

COUNT, BATCH, ROUNDS = 20_000, 1000, 7
REPORT = AugmentSpec(rotate_deg=15, shift=0.1, flip="random")


def rate(work) -> dict[str, float]:
    """Median, lowest and highest images per second over the rounds."""
    work()
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    found = sorted(COUNT / s for s in seconds)
    return {"median": round(statistics.median(found)), "lowest": round(found[0]), "highest": round(found[-1])}


def main() -> None:
    generator = np.random.default_rng(0)
    pixels = torch.from_numpy(generator.integers(0, 256, (COUNT, 32, 32, 3), dtype=np.uint8))
    labels = torch.zeros(COUNT, dtype=torch.int64)
    standardise = Standardiser.of(
        np.full(3, 120, np.float32), np.full(3, 60, np.float32), width=32, device="cpu"
    )
    ready = [standardise(pixels[rows]) for rows in batches.batches(COUNT, BATCH)]
    order = batches.order(COUNT, seed=0, epoch=0)
    draws = pipeline.draw(REPORT, order, seed=0, epoch=0)
    assert draws.affine is not None

    def affine() -> None:
        for images, rows in zip(ready, batches.batches(COUNT, BATCH), strict=True):
            geometry.affine(images, *draws.affine[rows].unbind(dim=1), draws.flip[rows], "nearest")

    def whole(spec: AugmentSpec):
        def work() -> None:
            drawn = pipeline.draw(spec, order, seed=0, epoch=0)
            index = torch.from_numpy(order)
            for rows in batches.batches(COUNT, BATCH):
                images = standardise(pixels[index[rows]])
                pipeline.augment(spec, images, labels[rows], drawn, rows, classes=10)

        return work

    results = {
        "affine alone": rate(affine),
        "draw, gather, standardise, affine": rate(whole(REPORT)),
        "draw, gather, standardise, crop 4, flip": rate(whole(AugmentSpec(crop_pad_px=4, flip="random"))),
    }
    print(
        json.dumps(
            {"images_per_s": results, "threads": torch.get_num_threads(), "environment": describe()}, indent=2
        )
    )


if __name__ == "__main__":
    main()
