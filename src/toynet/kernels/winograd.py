"""3x3 convolutions with fewer multiplications: Winograd's minimal filtering.

A tile of 2x2 outputs takes 16 multiplications at stride 1 and 25 at stride 2, where the convolution itself
takes 36. Worth it where they are what a convolution waits for: on processors that multiply bf16 in vector
registers. Errors are about twice those of bf16. `winograd.h` says how.
Source: Lavin and Gray 2015, "Fast algorithms for convolutional neural networks", arXiv 1509.09308.
"""

import ctypes
import math
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from toynet.core.environment import flags
from toynet.kernels.build import library, pointers
from toynet.kernels.maps import MOST_CHANNELS
from toynet.kernels.windows import Windows

LANES = 16
"""Channels and filters must be multiples of it."""

SIDE = 3
"""Of the kernel."""

_ROWS = 8
"""As in `products.h`: a thread takes a multiple of so many tiles."""

_MOST_TILES, _TILE_NUMBERS, _PAIR_NUMBERS = 96, 196_608, 2_097_152
"""What a thread takes at once, as fits its caches: tiles, and numbers in their points. Found by timing."""

_MOST_SUMS = 1 << 26
"""Numbers in the sums of all groups of threads, 256 MiB; with very large kernels fewer threads work."""


@cache
def pays() -> bool:
    """Whether this processor multiplies bf16 fast, and not in a matrix unit, for which this is not made."""
    return bool(library().winograd_is_fast()) and "amx_bf16" not in flags()


def takes(channels: int, filters: int) -> bool:
    """Whether there is a way for so many of both."""
    return channels % LANES == filters % LANES == 0 and max(channels, filters) <= MOST_CHANNELS


def convolve(maps: Tensor, kernel: Tensor, windows: Windows) -> Tensor:
    """The convolution of bf16 `maps` (N, C, H, W) in channels-last order with `kernel` (K, C, 3, 3), over
    `windows` of stride 1 or 2: (N, K, tall, wide)."""
    result: Tensor = _Convolution.apply(maps, kernel, windows)  # type: ignore[no-untyped-call]
    return result


class _Kind(NamedTuple):
    """One of the filterings of `winograd.h`."""

    number: int
    points: int
    results: int
    """Pixels of a tile of them across."""


_SAME, _HALVING, _DOUBLING = _Kind(0, 16, 2), _Kind(1, 25, 2), _Kind(2, 25, 4)


class _Geometry(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in (
            *("images", "height", "width", "channels", "tall", "wide", "filters"),
            *("top", "left", "over", "before"),
        )
    )

    def tiles(self, kind: _Kind) -> int:
        rows, columns = (
            -(-side // kind.results) for side in (self.tall + self.over, self.wide + self.before)
        )
        return int(self.images * rows * columns)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, kernel: Tensor, windows: Windows) -> Tensor:
        ctx.save_for_backward(maps, kernel)
        images, channels, *given = maps.shape
        wanted, margins = (windows.tall, windows.wide), (windows.top, windows.left)
        ctx.geometry = _Geometry(images, *given, channels, *wanted, len(kernel), *margins)
        ctx.kind = _SAME if windows.stride == 1 else _HALVING
        return _filter(maps, _points("winograd_kernel", kernel, ctx.kind), ctx.geometry, ctx.kind)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        maps, kernel = ctx.saved_tensors
        kind, g = ctx.kind, ctx.geometry
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        by_maps = by_kernel = None
        if ctx.needs_input_grad[0]:
            back = _Geometry(g.images, g.tall, g.wide, g.filters, g.height, g.width, g.channels, 1, 1)
            if kind is _HALVING:
                back.over, back.before = g.top, g.left
            points = _points("winograd_kernel_reversed", kernel, kind)
            by_maps = _filter(gradient, points, back, _SAME if kind is _SAME else _DOUBLING)
        if ctx.needs_input_grad[1]:
            by_kernel = _kernel_gradient(maps, gradient, g, kind).to(kernel.dtype)
        return by_maps, by_kernel, None


def _filter(maps: Tensor, points: Tensor, geometry: _Geometry, kind: _Kind) -> Tensor:
    """What the maps give with the points of a kernel."""
    threads, channels = torch.get_num_threads(), geometry.channels
    shape = geometry.images, geometry.filters, geometry.tall, geometry.wide
    result = torch.empty(shape, dtype=maps.dtype, memory_format=torch.channels_last)
    share = -(-geometry.tiles(kind) // threads)
    many = min(share, _MOST_TILES, max(_ROWS, _TILE_NUMBERS // (kind.points * channels)))
    many = _rounded_up(many, _ROWS)
    size = _room("winograd_filter_room", channels, many, kind.number)
    room = torch.empty(threads, size, dtype=torch.int32)
    library().winograd_filter(
        *pointers(maps, points, result),
        ctypes.byref(geometry),
        *pointers(room),
        *_integers(size, many),
        kind.number,
        threads,
    )
    return result


def _kernel_gradient(maps: Tensor, gradient: Tensor, geometry: _Geometry, kind: _Kind) -> Tensor:
    """In fp32: (K, C, 3, 3)."""
    channels, filters, tiles = geometry.channels, geometry.filters, geometry.tiles(kind)
    sharing = math.gcd(torch.get_num_threads(), 4)
    most_groups = max(1, _MOST_SUMS // (kind.points * channels * filters))
    groups = min(torch.get_num_threads() // sharing, tiles, most_groups)
    share, threads = -(-tiles // groups), groups * sharing
    many = _rounded_up(min(share, max(32, _PAIR_NUMBERS // (kind.points * (channels + filters)))), 2)
    size = _room("winograd_sums_room", channels, filters, many, sharing, kind.number)
    room = torch.empty(threads, size, dtype=torch.int32)
    sums = torch.empty(groups, kind.points, filters, channels)
    library().winograd_kernel_sums(
        *pointers(maps, gradient, sums),
        ctypes.byref(geometry),
        *pointers(room),
        *_integers(size, many),
        sharing,
        kind.number,
        threads,
    )
    result = torch.empty((filters, channels, SIDE, SIDE), memory_format=torch.channels_last)
    library().winograd_kernel_gradient(
        *pointers(sums),
        *_integers(groups),
        *pointers(result),
        *_integers(channels, filters),
        kind.number,
        threads,
    )
    return result


def _points(name: str, kernel: Tensor, kind: _Kind) -> Tensor:
    """The kernel's points, as the function `name` arranges them."""
    filters, channels = kernel.shape[:2]
    taps = kernel.detach().float().contiguous(memory_format=torch.channels_last)
    points = torch.empty(kind.points * filters * channels // 2, dtype=torch.int32)
    sizes = _integers(channels, filters)
    getattr(library(), name)(*pointers(taps, points), *sizes, kind.number, torch.get_num_threads())
    return points


def _room(name: str, *sizes: int) -> int:
    """The words that a thread works in, as the function `name` tells."""
    tell = getattr(library(), name)
    tell.restype = ctypes.c_int64
    return int(tell(*_integers(*sizes)))


def _rounded_up(count: int, step: int) -> int:
    return -(-count // step) * step


def _integers(*values: int) -> list[ctypes.c_int64]:
    return [ctypes.c_int64(value) for value in values]
