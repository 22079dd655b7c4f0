"""Convolutions of bf16 maps in a processor's matrix unit (Intel's AMX): 3x3, and 1x1 at a stride.

Products are taken of 32 images at once, pixel by pixel and tap by tap, so that nothing is gathered but the
maps themselves, and what lies outside of them costs nothing. `matrix.h` says how. Results differ from torch's
by the rounding of the maps' numbers.
"""

import ctypes
from functools import cache, lru_cache

import torch
from torch import Tensor

from toynet.core.environment import flags
from toynet.kernels import convolution
from toynet.kernels.build import library, obstacle
from toynet.kernels.convolution import Plan, task
from toynet.kernels.maps import MOST_CHANNELS
from toynet.kernels.windows import Windows

SIDE = 32
"""Images, channels and filters that are taken at once: channels and filters must be multiples of it."""

NARROW = 16
"""Or so many, of two neighbouring pixels at once."""

_CELL = SIDE * SIDE

_HELD = 384 * _CELL
"""Numbers of maps that a thread holds at once: they stay in its second-level cache. Found by timing."""

_HELD_PIXELS, _HELD_RESULTS = 512 * _CELL, 384 * _CELL
"""The same in the gradient by the kernel: of the maps, and of the gradient by the results."""

_FRESH = 256 * 1024
"""Of so many weights and more, each thread turns those of its own share of filters, and uses them at once,
where it can hold all maps."""

_LARGE_KERNEL = 128 * 128
"""Channels times filters: from there on threads share filters, not images, in the gradient by the kernel."""


def is_promised() -> bool:
    """Whether the processor says that it has such a unit; nothing is compiled for the answer."""
    return "amx_bf16" in flags()


def is_there() -> bool:
    """Whether it has one, which this process may use."""
    return is_promised() and obstacle(torch.bfloat16) is None and _granted()


@cache
def _granted() -> bool:
    """Asks the system for the unit; without one the functions here do the same in plain C."""
    return bool(library(torch.bfloat16).matrix_is_there())


def takes(channels: int, filters: int) -> bool:
    """Whether there is a way for so many of both."""
    return all(
        count <= MOST_CHANNELS and (count == NARROW or count % SIDE == 0) for count in (channels, filters)
    )


def convolve(maps: Tensor, kernel: Tensor, windows: Windows, addend: Tensor | None = None) -> Tensor:
    """Of bf16 `maps`, over `windows` of 1x1 or 3x3 at stride 1 or 2; see `convolution.convolve`."""
    return convolution.convolve(plan(maps, kernel, windows), maps, kernel, windows, addend)


class _Job(ctypes.Structure):
    """As `job` of `matrix.h`: the convolution, and how it is gone about.

    groups: blocks of 32 images that a thread takes at once; strips: parts of their lines that threads share;
    sharing: parts of the filters that they share; lines: of maps held at once; most: of results held at once;
    slices: parts of the channels taken one after the other; fresh: whether each thread turns its kernels.
    """

    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in (
            *("images", "height", "width", "channels", "tall", "wide", "filters"),
            *("side", "stride", "top", "left", "reversed"),
            *("threads", "groups", "strips", "sharing", "lines", "most", "slices", "fresh"),
        )
    )


def plan(maps: Tensor, kernel: Tensor, windows: Windows) -> Plan:
    """For the convolution of such `maps` (N, C, H, W) with a `kernel` (K, C, side, side), over `windows`."""
    return _plan(maps.shape, len(kernel), windows, torch.get_num_threads())


def add_gradients(
    maps: Tensor, kernel: Tensor, windows: Windows, gradient: Tensor, by_maps: Tensor
) -> Tensor:
    """The gradient of a convolution by the kernel, from `gradient`, that by its result.

    The one by the maps is added to `by_maps`, in place.
    """
    own = plan(maps, kernel, windows)
    convolution.filtered(own.backward, gradient, kernel, by_maps, by_maps)
    return own.by_kernel(maps, gradient, kernel)


@lru_cache(maxsize=1024)
def _plan(shape: torch.Size, filters: int, windows: Windows, threads: int) -> Plan:
    _granted()
    images, channels, height, width = shape
    tall, wide = windows.tall, windows.wide
    own = windows.side, windows.stride, windows.top, windows.left
    forward = _Job(images, height, width, channels, tall, wide, filters, *own, 0, threads)
    backward = _Job(images, tall, wide, filters, height, width, channels, *own, 1, threads)
    kernel = _Job(images, height, width, channels, tall, wide, filters, *own, 0, threads)
    _convolving(forward)
    _convolving(backward)
    _summing(kernel)
    names = "matrix_convolve", "matrix_convolve", "matrix_kernel_gradient"
    jobs = zip(names, (forward, backward, kernel), strict=True)
    return Plan(*(task(*one, torch.bfloat16) for one in jobs))


def _convolving(job: _Job) -> None:
    blocks = -(-job.images // SIDE)
    line = _cells(job.channels, job.width + 1) * _CELL
    job.groups, job.sharing = 1, 1
    job.lines = min(job.height, max(_HELD // line, job.side))
    job.strips = 1 if blocks % job.threads == 0 else min(job.threads, job.tall)
    held = blocks * job.height * line <= _HELD
    if held and job.channels * job.filters * job.side**2 >= _FRESH and job.filters >= SIDE * job.threads:
        job.fresh, job.groups, job.lines = 1, blocks, job.height
        job.sharing, job.strips = job.threads, 1


def _summing(job: _Job) -> None:
    blocks = -(-job.images // SIDE)
    cells, filters = -(-job.channels // SIDE), -(-job.filters // SIDE)
    line, results = _cells(job.channels, job.width + 1) * _CELL, _cells(job.filters, job.wide) * _CELL
    large = job.channels * job.filters >= _LARGE_KERNEL and filters % job.threads == 0
    job.sharing = job.threads if large else 1
    results //= job.sharing
    job.most = max(1, min(job.tall, _HELD_RESULTS // results))
    if large and job.most == job.tall:
        job.groups = max(1, min(blocks, _HELD_RESULTS // (results * job.tall)))
        job.lines = job.height
        job.slices = max(1, min(cells, -(-job.groups * job.height * line // _HELD_PIXELS)))
    else:
        job.groups, job.slices = 1, 1
        job.lines = min(job.height, max(_HELD_PIXELS // line, job.side))


def _cells(channels: int, width: int) -> int:
    """Along a line of so many pixels."""
    return (width + 1) // 2 if channels == NARROW else width * (channels // SIDE)
