"""The images that a model learns from, and the way of a batch of them to the device."""

from dataclasses import dataclass

from torch import Tensor

from toynet.augment.standardise import Standardiser
from toynet.training import mapped


@dataclass(frozen=True)
class TrainingImages:
    """images: (M, H, W, C) uint8 and labels: (N,) int64, on the model's device.

    rows: (N,) int64, where image i lies in `images`; none where it is at i.
    mapped: `images` lie in a file; they stay on the host where the device has no room for them.
    """

    images: Tensor
    labels: Tensor
    standardise: Standardiser
    rows: Tensor | None = None
    mapped: bool = False


def load(data: TrainingImages, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Images at `indices` (B,), standardised (B, C, H, W) float32 channels-last, and their labels (B,)."""
    rows = _rows(data, indices)
    return data.standardise(data.images[rows].to(data.labels.device)), data.labels[indices]


def look_ahead(data: TrainingImages, indices: Tensor) -> None:
    """Have the images at `indices` (B,) read from the disk meanwhile, where they lie there."""
    if data.mapped and data.images.device.type == "cpu":
        mapped.expect(data.images, _rows(data, indices))


def _rows(data: TrainingImages, indices: Tensor) -> Tensor:
    """Where the images at `indices` lie in `data.images`, on the device of these."""
    return (indices if data.rows is None else data.rows[indices]).to(data.images.device)
