"""From stored bytes to what a network reads: zero mean and unit variance per channel."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Standardiser:
    """(x - mean) / std as one multiply-add over whole image rows, which the processor can vectorise."""

    shift: Tensor
    scale: Tensor

    @classmethod
    def of(
        cls, mean: NDArray[np.float32], std: NDArray[np.float32], *, width: int, device: str
    ) -> "Standardiser":
        """From per-channel mean and std, (C,) each, on the 0..255 scale, for images `width` pixels wide."""
        scale = 1.0 / torch.from_numpy(std).double()
        shift = -torch.from_numpy(mean).double() * scale
        return cls(*(row.float().repeat(width).to(device) for row in (shift, scale)))

    def __call__(self, images: Tensor) -> Tensor:
        """(B, H, W, C) uint8 on the device to (B, C, H, W) float32 in channels-last memory."""
        rows = images.flatten(2).to(torch.float32)
        return torch.addcmul(self.shift, rows, self.scale).view(images.shape).permute(0, 3, 1, 2)
