"""From a spec to augmented batches: `draw` decides an epoch's randomness, `augment` applies it to a batch.

Every draw is a pure function of (seed, epoch, position in the epoch), and every operation has a stream
of its own: switching cutout on leaves the rotations as they were, and resuming needs no generator state.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from toynet.augment import geometry, mixing
from toynet.augment.spec import AugmentSpec
from toynet.core.seeds import stream

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Draws:
    """One epoch's random numbers, a row per position; `none` where the operation is off.

    flip: (N,) bool. affine: (N, 3) degrees, vertical and horizontal shift. crop: (N, 2) pixels.
    cutout: (N, 2) centres in 0..1. mix: (N, 4) weight of the image itself, centre, rank of its partner.
    """

    flip: Tensor
    affine: Tensor | None
    crop: Tensor | None
    cutout: Tensor | None
    mix: Tensor | None


def draw(
    spec: AugmentSpec,
    order: NDArray[np.int64],
    *,
    seed: int,
    epoch: int,
    before: NDArray[np.int64] | None = None,
) -> Draws:
    """The draws of `epoch` for images visited in `order` (N,).

    before: how often each of all images was visited in earlier epochs, where that is not once in each.
    """
    count = len(order)

    def uniform(name: str, columns: int) -> Floats:
        return stream(seed, "augment", name, epoch).random((count, columns), dtype=np.float32)

    def signed(name: str, limit: float) -> Floats:
        return (uniform(name, 1) * 2 - 1) * np.float32(limit)

    affine = crop = cutout = mix = None
    if spec.rotate_deg or spec.shift:
        affine = np.concatenate(
            [
                signed("rotate", spec.rotate_deg),
                signed("shift_y", spec.shift),
                signed("shift_x", spec.shift),
            ],
            axis=1,
        )
    if spec.crop_pad_px:
        span = 2 * spec.crop_pad_px + 1
        crop = (uniform("crop", 2) * span).astype(np.int64).clip(0, span - 1) - spec.crop_pad_px
    if spec.cutout_px:
        cutout = uniform("cutout", 2)
    if alpha := spec.mixup or spec.cutmix:
        weight = stream(seed, "augment", "mix", epoch).beta(alpha, alpha, (count, 1)).astype(np.float32)
        mix = np.concatenate([weight, uniform("mix_where", 3)], axis=1)
    return Draws(
        _flips(spec, order, seed, epoch, before),
        _tensor(affine),
        _tensor(crop),
        _tensor(cutout),
        _tensor(mix),
    )


def augment(
    spec: AugmentSpec, images: Tensor, labels: Tensor, draws: Draws, rows: slice, *, classes: int
) -> tuple[Tensor, Tensor]:
    """Augment the batch at positions `rows` of the epoch.

    images: (B, C, H, W) float, standardised, channels-last; labels: (B,) int64.
    Returns images alike and labels (B,) int64, or (B, K) float32 when images were mixed.
    """
    device = images.device
    flip = draws.flip[rows].to(device)
    if draws.affine is not None:
        degrees, down, right = draws.affine[rows].to(device).unbind(dim=1)
        images = geometry.affine(images, degrees, down, right, flip, spec.fill)
        flip = torch.zeros_like(flip)
    if draws.crop is not None:
        down, right = draws.crop[rows].to(device).unbind(dim=1)
        images = geometry.crop_flip(images, down, right, flip)
    elif draws.affine is None and spec.flip != "none":
        still = torch.zeros(len(images), dtype=torch.int64, device=device)
        images = geometry.crop_flip(images, still, still, flip)
    if draws.cutout is not None:
        down, right = draws.cutout[rows].to(device).unbind(dim=1)
        images = mixing.cutout(images, down, right, spec.cutout_px)
    if draws.mix is not None:
        weight, down, right, rank = draws.mix[rows].to(device).unbind(dim=1)
        partner = rank.argsort()
        soft = torch.nn.functional.one_hot(labels, classes).float()
        if spec.mixup:
            return mixing.mixup(images, soft, weight, partner)
        return mixing.cutmix(images, soft, weight, down, right, partner)
    return images, labels


def _flips(
    spec: AugmentSpec, order: NDArray[np.int64], seed: int, epoch: int, before: NDArray[np.int64] | None
) -> Tensor:
    """(N,) bool. Alternating flips belong to the image, so they are drawn by image and read in order."""
    if spec.flip == "none":
        return torch.zeros(len(order), dtype=torch.bool)
    if spec.flip == "random":
        return torch.from_numpy(stream(seed, "augment", "flip", epoch).random(len(order)) < 0.5)
    images, visits = (len(order), epoch) if before is None else (len(before), before[order])
    by_image = stream(seed, "augment", "flip_start").random(images) < 0.5
    return torch.from_numpy(by_image[order] ^ (np.asarray(visits) % 2 == 1))


def _tensor(values: NDArray[np.generic] | None) -> Tensor | None:
    return None if values is None else torch.from_numpy(values)
