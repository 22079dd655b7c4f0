"""3x3 convolutions with fewer multiplications: Winograd's minimal filtering.

At stride 1 a tile of 4x4 outputs takes 36 multiplications where the convolution itself takes 144, or in bf16
one of 2x4 24 for 72; at stride 2 one of 2x2 takes 25 for 36. Worth it where they are what a convolution waits
for: on processors that multiply in vector registers. In fp32 errors are about 1e-6 of the results. In
bf16 they are, at stride 1, three times those of bf16 itself, four times in the
kernel's gradient; a whole network's are about a third larger. `winograd.h` says how.
Source: Lavin and Gray 2015, "Fast algorithms for convolutional neural networks", arXiv 1509.09308.
"""

import ctypes
import math
from functools import cache, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from toynet.kernels import convolution, matrix
from toynet.kernels.build import library
from toynet.kernels.convolution import Plan, task
from toynet.kernels.maps import MOST_CHANNELS
from toynet.kernels.windows import Windows

LANES = 16
"""Channels and filters must be multiples of it."""

SIDE = 3
"""Of the kernel."""

_ROWS = 8
"""As in `products.h`: a thread takes a multiple of so many tiles."""

_MOST_TILES = 64
_TILE_NUMBERS = {torch.bfloat16: 98_304, torch.float32: 1_048_576}
"""What a thread filters at once: tiles, and numbers in their points. Found by timing."""

_FEW_TILES, _FRESH_NUMBERS = 128, 4_194_304
"""With so few in all, and no more than filters, each thread turns the kernel for its share of filters itself,
and the pixels of all tiles, or of as many as have so many numbers in their points: more leave its caches."""

_FEWEST_PAIRED = 32
_PAIR_NUMBERS = {torch.bfloat16: 1_048_576, torch.float32: 524_288}
"""The same for the gradient by the kernel."""

_MANY_TILES = 32
"""Where numbers in the points of all tiles are so many times those in the sums, no thread shares tiles."""

_MOST_SUMS = 1 << 26
"""Numbers in the sums of all groups of threads, 256 MiB; with very large kernels fewer threads work."""


@cache
def pays(numbers: torch.dtype) -> bool:
    """Whether this processor multiplies `numbers` fast, not in a matrix unit, which this is not made for."""
    in_matrix_unit = numbers == torch.bfloat16 and matrix.is_promised()
    return bool(library(numbers).winograd_is_fast()) and not in_matrix_unit


def takes(channels: int, filters: int) -> bool:
    """Whether there is a way for so many of both."""
    return channels % LANES == filters % LANES == 0 and max(channels, filters) <= MOST_CHANNELS


def convolve(maps: Tensor, kernel: Tensor, windows: Windows, addend: Tensor | None = None) -> Tensor:
    """Of bf16 or fp32 `maps`, over `windows` of 3x3 at stride 1 or 2; see `convolution.convolve`."""
    return convolution.convolve(plan(maps, kernel, windows), maps, kernel, windows, addend)


def tiles(windows: Windows, images: int, numbers: torch.dtype) -> int:
    """In how many tiles the outputs of so many maps of `numbers` are taken."""
    kind = _SAME[numbers] if windows.stride == 1 else _HALVING
    return _tiles(kind, images, windows.tall, windows.wide)


class _Kind(NamedTuple):
    """One of the filterings of `winograd.h`."""

    number: int
    points: int
    results: tuple[int, int]
    """Pixels of a tile of them, down and along."""


_SAME = {torch.bfloat16: _Kind(0, 24, (2, 4)), torch.float32: _Kind(0, 36, (4, 4))}
_HALVING, _DOUBLING = _Kind(1, 25, (2, 2)), _Kind(2, 25, (4, 4))


class _Job(ctypes.Structure):
    """A filtering of maps (images, height, width, channels) into (tall, wide, filters), and how it is done.

    As `job` of `winograd.h`.
    """

    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in (
            *("images", "height", "width", "channels", "tall", "wide", "filters"),
            *("top", "left", "over", "before"),
            *("kind", "reversed", "fresh", "many", "sharing", "threads"),
        )
    )


def plan(maps: Tensor, kernel: Tensor, windows: Windows) -> Plan:
    """For the convolution of such `maps` (N, C, H, W) with a `kernel` (K, C, 3, 3), over `windows`."""
    return _plan(maps.shape, maps.dtype, len(kernel), windows, torch.get_num_threads())


@lru_cache(maxsize=1024)
def _plan(shape: torch.Size, numbers: torch.dtype, filters: int, windows: Windows, threads: int) -> Plan:
    """For maps of `shape` (N, C, H, W) that hold `numbers`."""
    images, channels, height, width = shape
    tall, wide, top, left = windows.tall, windows.wide, windows.top, windows.left
    there = images, height, width, channels, tall, wide, filters
    back = images, tall, wide, filters, height, width, channels
    same, halves = _SAME[numbers], windows.stride == 2
    forth, down = (_HALVING, _DOUBLING) if halves else (same, same)
    forward = _filtering(forth, *there, top, left, 0, 0, numbers=numbers, threads=threads)
    backward = _filtering(
        down, *back, 1, 1, *((top, left) if halves else (0, 0)), numbers=numbers, threads=threads
    )
    backward.reversed = 1
    kernel = _summing(forth, *there, top, left, 0, 0, numbers=numbers, threads=threads)
    names = "winograd_filter", "winograd_filter", "winograd_kernel_gradient"
    return Plan(*(task(*one, numbers) for one in zip(names, (forward, backward, kernel), strict=True)))


def _filtering(kind: _Kind, *geometry: int, numbers: torch.dtype, threads: int) -> _Job:
    job = _Job(*geometry, kind=kind.number, sharing=1, threads=threads)
    count = _tiles_of(job, kind)
    if count <= min(_FEW_TILES, job.filters):
        job.fresh, job.sharing = 1, min(threads, job.filters // LANES)
        many = min(count, _FRESH_NUMBERS // (kind.points * job.channels))
    else:
        share = -(-count // threads)
        many = min(share, _MOST_TILES, _TILE_NUMBERS[numbers] // (kind.points * job.channels))
    job.many = _rounded_up(max(many, 1), _ROWS)
    return job


def _summing(kind: _Kind, *geometry: int, numbers: torch.dtype, threads: int) -> _Job:
    """Threads share tiles unless it costs more to read these twice than to have sums of their own."""
    job = _Job(*geometry, kind=kind.number)
    count, channels, filters = _tiles_of(job, kind), job.channels, job.filters
    alone = count * (channels + filters) >= _MANY_TILES * channels * filters
    job.sharing = 1 if alone else math.gcd(threads, 4)
    most_groups = max(1, _MOST_SUMS // (kind.points * channels * filters))
    groups = min(threads // job.sharing, count, most_groups)
    job.threads = groups * job.sharing
    # All sums are read and written for every so many tiles.
    fewest = channels * filters // (channels + filters)
    many = max(_FEWEST_PAIRED, fewest, _PAIR_NUMBERS[numbers] // (kind.points * (channels + filters)))
    job.many = _rounded_up(min(-(-count // groups), many), 2)
    return job


def _tiles(kind: _Kind, images: int, tall: int, wide: int) -> int:
    down, along = kind.results
    return images * -(-tall // down) * -(-wide // along)


def _tiles_of(job: _Job, kind: _Kind) -> int:
    return _tiles(kind, job.images, job.tall + job.over, job.wide + job.before)


def _rounded_up(count: int, step: int) -> int:
    return -(-count // step) * step
