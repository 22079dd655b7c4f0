"""Whether an exported model gives the original's logits: measured on the file, before it is let out."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from toynet.core.errors import ToyNetError
from toynet.exporting.origin import PARITY_IMAGES, Origin
from toynet.exporting.records import Parity

BATCH_SIZES = (1, 7, 64, 128)

Logits = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""From images (N, H, W, C) uint8 to logits (N, K)."""


def check(origin: Origin, exported: Logits, *, limit: float) -> Parity:
    """Ask both about the same images, in several batch sizes in turn.

    Raises `ToyNetError` where any logit differs by more than `limit`, or is not finite.
    """
    images = origin.probe.images[:PARITY_IMAGES]
    worst, start, turn, used = 0.0, 0, 0, set()
    while start < len(images):
        batch = images[start : start + BATCH_SIZES[turn % len(BATCH_SIZES)]]
        difference = np.abs(exported(batch) - origin.logits(batch)).max()
        worst = max(worst, float(difference) if np.isfinite(difference) else np.inf)
        used.add(len(batch))
        start, turn = start + len(batch), turn + 1
    if worst > limit:
        raise ToyNetError(
            f"the exported model's logits differ from the original's by {worst:.3g}, more than {limit:g}, "
            f"on {origin.probe.source}; nothing was kept"
        )
    return Parity(
        images=len(images),
        source=origin.probe.source,
        batch_sizes=tuple(sorted(used)),
        max_difference=worst,
        limit=limit,
    )


def accuracy(origin: Origin, exported: Logits) -> float | None:
    """The fraction of the probe's images that the exported model gets right; none without labels."""
    labels = origin.probe.labels
    if labels is None:
        return None
    images = origin.probe.images
    found = [exported(images[start : start + 128]) for start in range(0, len(images), 128)]
    return float((np.concatenate(found).argmax(axis=1) == labels).mean())
