"""Random images in the shape of a recipe's data set, so that none needs to be on the disk."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from toynet.core.reporter import Reporter
from toynet.core.seeds import stream
from toynet.data import sources
from toynet.data.spec import DataSpec
from toynet.runs import subject
from toynet.runs.folder import DataCard
from toynet.training.images import TrainingImages

_BUILT_IN = {"cifar10": 10, "cifar100": 100, "glyphs": 10}
_SIDE, _CHANNELS = 32, 3
_BYTES, _FEWEST_BATCHES = 2**26, 4


def card(spec: DataSpec, data_root: Path | None, reporter: Reporter) -> DataCard:
    """What the model must know of the data set that `spec` names.

    Of the user's own images, shape and classes are read from the disk, with the errors of `sources.load`.
    """
    classes = _BUILT_IN.get(spec.name.partition(":")[0])
    if classes is None:
        dataset = sources.load(spec, data_root, reporter)
        classes, shape = len(dataset.classes), dataset.image_shape
    else:
        side = spec.size or _SIDE
        shape = side, side, _CHANNELS if spec.channels == "auto" else spec.channels
    return DataCard(
        name=spec.name,
        classes=tuple(str(number) for number in range(classes)),
        image_shape=shape,
        mean=(120.0,) * shape[2],
        std=(60.0,) * shape[2],
        train_images=0,
        val_images=0,
        test_images=0,
        train_digest="",
        test_digest="",
        split_digest="",
    )


def noise(card: DataCard, count: int) -> NDArray[np.uint8]:
    """`count` random images (N, H, W, C)."""
    return stream(0, "noise").integers(0, 256, (count, *card.image_shape), dtype=np.uint8)


def training_images(card: DataCard, batch_size: int, device: str) -> TrainingImages:
    """Whole batches, more than a processor's cache holds, on `device`."""
    count = batch_size * max(_FEWEST_BATCHES, _BYTES // (batch_size * int(np.prod(card.image_shape))))
    labels = stream(0, "labels").integers(0, len(card.classes), count)
    return TrainingImages(
        images=torch.from_numpy(noise(card, count)).to(device),
        labels=torch.from_numpy(labels).to(device),
        standardise=subject.standardiser(card, device),
    )
