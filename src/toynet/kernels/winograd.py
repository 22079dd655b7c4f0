"""3x3 convolutions at stride 1 by Winograd's minimal filtering: 16 multiplications for 4 outputs, not 36.

Worth it where multiplications are what a convolution waits for: on processors that multiply bf16 in vector
registers. Errors are about twice those of bf16. `winograd.c` says how.
Source: Lavin and Gray 2015, "Fast algorithms for convolutional neural networks", arXiv 1509.09308.
"""

import ctypes
import math
from functools import cache
from typing import Any

import torch
from torch import Tensor

from toynet.core.environment import flags
from toynet.kernels.build import library, pointers

LANES = 16
"""Channels and filters must be multiples of it."""

_POINTS, _PANEL, _ROWS = 16, 96, 8
_MOST_TILES, _TILE_CHANNELS, _PAIR_CHANNELS = 96, 12_288, 131_072
"""Tiles that a thread takes at once: what fits its caches, found by timing."""


@cache
def pays() -> bool:
    """Whether this processor multiplies bf16 fast, but has no matrix unit, which is faster still."""
    return bool(library().winograd_is_fast()) and "amx_bf16" not in flags()


def takes(channels: int, filters: int) -> bool:
    """Whether there is a way for so many of both."""
    return channels % LANES == filters % LANES == 0


def convolve(maps: Tensor, kernel: Tensor) -> Tensor:
    """The convolution, padded by one pixel, of bf16 `maps` (N, C, H, W) in channels-last order with `kernel`
    (K, C, 3, 3): (N, K, H, W)."""
    result: Tensor = _Convolution.apply(maps, kernel)  # type: ignore[no-untyped-call]
    return result


class _Shape(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_int64) for name in ("images", "height", "width", "channels", "filters"))


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, kernel: Tensor) -> Tensor:
        ctx.save_for_backward(maps, kernel)
        return _outputs(maps, _points("winograd_kernel", kernel), len(kernel))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        maps, kernel = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        by_maps = by_kernel = None
        if ctx.needs_input_grad[0]:
            by_maps = _outputs(gradient, _points("winograd_kernel_reversed", kernel), maps.shape[1])
        if ctx.needs_input_grad[1]:
            by_kernel = _kernel_gradient(maps, gradient).to(kernel.dtype)
        return by_maps, by_kernel


def _outputs(maps: Tensor, points: Tensor, filters: int) -> Tensor:
    images, channels, height, width = maps.shape
    shape, threads = _Shape(images, height, width, channels, filters), torch.get_num_threads()
    result = torch.empty(
        (images, filters, height, width), dtype=maps.dtype, memory_format=torch.channels_last
    )
    share = -(-_tiles(shape) // threads)
    many = _rounded_up(min(share, _MOST_TILES, max(16, _TILE_CHANNELS // channels)), _ROWS)
    size = _POINTS * many * (channels // 2 + _PANEL)
    room = torch.empty(threads, size, dtype=torch.int32)
    library().winograd_outputs(
        *pointers(maps, points, result), ctypes.byref(shape), *pointers(room), *_integers(size, many), threads
    )
    return result


def _kernel_gradient(maps: Tensor, gradient: Tensor) -> Tensor:
    """In fp32: (K, C, 3, 3)."""
    images, channels, height, width = maps.shape
    filters, threads = gradient.shape[1], torch.get_num_threads()
    shape, sharing = _Shape(images, height, width, channels, filters), math.gcd(threads, 4)
    groups = threads // sharing
    share = -(-_tiles(shape) // groups)
    many = _rounded_up(min(share, max(32, _PAIR_CHANNELS // (channels + filters))), 2)
    size = _POINTS // sharing * (many // 2) * (channels + filters)
    room = torch.empty(threads, size, dtype=torch.int32)
    sums = torch.zeros(groups, _POINTS, filters, channels)
    library().winograd_kernel_sums(
        *pointers(maps, gradient, sums),
        ctypes.byref(shape),
        *pointers(room),
        *_integers(size, many),
        sharing,
        threads,
    )
    result = torch.empty((filters, channels, 3, 3), memory_format=torch.channels_last)
    library().winograd_kernel_gradient(
        *pointers(sums), *_integers(groups), *pointers(result), *_integers(channels, filters), threads
    )
    return result


def _points(name: str, kernel: Tensor) -> Tensor:
    """The kernel's points, by the function `name`, as that arranges them."""
    filters, channels = kernel.shape[:2]
    taps = kernel.detach().float().contiguous(memory_format=torch.channels_last)
    points = torch.empty(_POINTS * filters * channels // 2, dtype=torch.int32)
    getattr(library(), name)(*pointers(taps, points), *_integers(channels, filters), torch.get_num_threads())
    return points


def _tiles(shape: _Shape) -> int:
    return int(shape.images * -(-shape.height // 2) * -(-shape.width // 2))


def _rounded_up(count: int, step: int) -> int:
    return -(-count // step) * step


def _integers(*values: int) -> list[ctypes.c_int64]:
    return [ctypes.c_int64(value) for value in values]
