"""Smaller images in the first part of training: progressive resizing.

Early epochs learn coarse things, and a convolution's cost is proportional to its pixels: 24 pixels a side
instead of 32 take about half the time. As in fast.ai's DAWNBench entries (Howard 2018); ours averages areas,
or takes the middle, after augmentation, and switches once.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from toynet.training.spec import SmallSpec


def shrink(images: Tensor, spec: SmallSpec | None, progress: float) -> Tensor:
    """Images (N, C, H, W) whose shorter side is `spec.side_px` while `progress` is below `spec.until`.

    `progress` is the share of training that is done. Images that are no larger stay as they are.
    """
    shorter = min(images.shape[-2:])
    if spec is None or progress >= spec.until or shorter <= spec.side_px:
        return images
    size = [round(side * spec.side_px / shorter) for side in images.shape[-2:]]
    if spec.by == "crop":
        top, left = ((side - length) // 2 for side, length in zip(images.shape[-2:], size, strict=True))
        small = images[:, :, top : top + size[0], left : left + size[1]]
    else:
        small = F.interpolate(images, size=size, mode="area")
    return small.contiguous(memory_format=torch.channels_last)
