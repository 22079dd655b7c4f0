"""Which training images validate: stratified, seeded, hashed; and the statistics of the rest."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toynet.core.errors import DataError
from toynet.core.seeds import stream
from toynet.data.images import Dataset, ImageSet
from toynet.data.moments import mean_and_deviation
from toynet.data.spec import DataSpec

_STANDARD_PART = 0.1
_REPORT_PART = 0.2


@dataclass(frozen=True)
class Split:
    """The training and validation parts (`val` is none when all of train is trained on), and their hash.

    digest: sha256 over the indices into the source's training images (or over the source's own validation
    images), so that two runs can be told to have validated on the same ones.
    """

    train: ImageSet
    val: ImageSet | None
    digest: str


def split(dataset: Dataset, spec: DataSpec) -> Split:
    """Divide the training images as `spec.protocol` says; the test part is not looked at.

    `standard`: a tenth of every class validates (45,000 / 5,000 for CIFAR), or the source's own
    validation images where it has some. `report`: the first fifth validates, as Keras'
    `validation_split` does it. `full`: nothing validates.
    """
    source = dataset.train
    everything = np.arange(len(source), dtype=np.int64)
    if spec.protocol == "full":
        return Split(source, None, _digest(everything, everything[:0]))
    if spec.protocol == "standard" and dataset.val is not None:
        return Split(source, dataset.val, dataset.val.digest)
    if spec.protocol == "report":
        chosen = everything[: int(len(source) * _REPORT_PART)]
    else:
        chosen = _stratified(source.labels, _STANDARD_PART, spec.split_seed)
    if len(chosen) == 0:
        raise DataError(
            f"data {dataset.name}: too few images to set some apart for validation; "
            "use more, or data.protocol=full"
        )
    rest = np.setdiff1d(everything, chosen, assume_unique=True)
    untrained = np.setdiff1d(source.labels, source.labels[rest])
    if len(untrained):
        names = ", ".join(dataset.classes[label] for label in untrained[:3])
        raise DataError(
            f"data {dataset.name}: protocol {spec.protocol} would leave no training images of {names}; "
            "the images lie sorted by class, use data.protocol=standard"
        )
    unseen = np.setdiff1d(source.labels, source.labels[chosen])
    if spec.protocol == "report" and len(unseen):
        names = ", ".join(dataset.classes[label] for label in unseen[:3])
        raise DataError(
            f"data {dataset.name}: protocol report would leave no validation images of {names}; "
            "the images lie sorted by class, or there are few; use data.protocol=standard"
        )
    return Split(source.take(rest), source.take(chosen), _digest(rest, chosen))


def channel_statistics(part: ImageSet) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation per channel, (C,) each, on the 0..255 scale.

    Exact: from sums of whole numbers. A constant channel has deviation 1.
    """
    height, width = part.images.shape[1:3]
    return mean_and_deviation(part.image_moments().sum(axis=0), len(part) * height * width)


def _stratified(labels: NDArray[np.int64], part: float, seed: int) -> NDArray[np.int64]:
    """Indices of `part` of every class, sorted; at least one of each class that has two or more images."""
    generator = stream(seed, "split")
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = max(round(len(members) * part), 1) if len(members) > 1 else 0
        chosen.append(generator.permutation(members)[:count])
    return np.sort(np.concatenate(chosen))


def _digest(train: NDArray[np.int64], val: NDArray[np.int64]) -> str:
    return hashlib.sha256(train.tobytes() + b"|" + val.tobytes()).hexdigest()
