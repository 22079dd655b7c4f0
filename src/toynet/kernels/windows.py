"""The patches under a convolution's windows as rows of a matrix, and back: im2col and col2im.

Source: Chellapilla et al. 2006, "High performance convolutional neural networks for document processing".
Ours takes bf16 or fp32 maps in channels-last order, so that a line of a window lies in one piece.
"""

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor

from toynet.kernels.build import library, pointers

MOST_SIDE = 3


class _Windows(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in ("images", "height", "width", "channels", "tall", "wide", "side", "stride", "top", "left")
    )


@dataclass(frozen=True)
class Windows:
    """`tall` x `wide` windows of `side` x `side` pixels (up to 3), `stride` apart.

    The first one lies `top` and `left` pixels outside the map.
    """

    tall: int
    wide: int
    side: int
    stride: int
    top: int
    left: int

    def gather(self, maps: Tensor) -> Tensor:
        """The patches by line and pixel, 0 outside the map: (N, C, H, W) -> (N tall wide, side side C)."""
        images, channels = maps.shape[:2]
        rows = torch.empty(images * self.tall * self.wide, self.side**2 * channels, dtype=maps.dtype)
        self._call("gather", maps, rows, maps.shape)
        return rows

    def fold(self, rows: Tensor, shape: torch.Size) -> Tensor:
        """The gradient of `gather`: maps of `shape` (N, C, H, W), a pixel the sum of its places in `rows`."""
        maps = torch.empty(shape, dtype=rows.dtype, memory_format=torch.channels_last)
        self._call("fold", rows, maps, shape)
        return maps

    def _call(self, name: str, given: Tensor, result: Tensor, shape: torch.Size) -> None:
        images, channels, height, width = shape
        own = self.tall, self.wide, self.side, self.stride, self.top, self.left
        geometry = ctypes.byref(_Windows(images, height, width, channels, *own))
        getattr(library(given.dtype), name)(*pointers(given, result), geometry, torch.get_num_threads())
