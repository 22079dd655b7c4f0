"""Convolutions of bf16 maps in a processor's matrix unit (Intel's AMX): 3x3, and 1x1 at a stride.

Products are taken of 32 images at once, pixel by pixel and tap by tap, so that nothing is gathered but the
maps themselves, and what lies outside of them costs nothing. `matrix.h` says how. Results differ from torch's
by the rounding of the maps' numbers.
"""

import ctypes
from functools import cache, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from toynet.kernels import convolution
from toynet.kernels.build import library, obstacle, pointers
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


def is_there() -> bool:
    """Whether this processor has such a unit, which this process may use."""
    return obstacle(torch.bfloat16) is None and _granted()


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
    """Of bf16 `maps`, over `windows` of 1x1 or 3x3; see `convolution.convolve`."""
    return convolution.convolve(plan(maps, kernel, windows), maps, kernel, windows, addend)


class _Job(ctypes.Structure):
    """As `job` of `matrix.h`: the convolution, and how it is gone about.

    groups: blocks of 32 images that a thread takes at once; strips: parts of their lines that threads share;
    sharing: parts of the filters that they share; lines: of maps held at once; most: of results held at once;
    slices: parts of the channels taken one after the other.
    """

    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in (
            *("images", "height", "width", "channels", "tall", "wide", "filters"),
            *("side", "stride", "top", "left", "reversed"),
            *("threads", "groups", "strips", "sharing", "lines", "most", "slices", "fresh"),
        )
    )


class Plan(NamedTuple):
    """A `convolution.Plan`; rooms in words."""

    job: _Job
    room: int
    back_job: _Job
    back_room: int
    kernel_job: _Job
    kernel_room: int

    def convolve(self, maps: Tensor, kernel: Tensor, addend: Tensor | None = None) -> Tensor:
        return _convolve(maps, kernel, addend, self.job, self.room)

    def by_maps(self, gradient: Tensor, kernel: Tensor, addend: Tensor | None = None) -> Tensor:
        return _convolve(gradient, kernel, addend, self.back_job, self.back_room)

    def add_by_maps(self, gradient: Tensor, kernel: Tensor, by_maps: Tensor) -> None:
        """Add the gradient by the maps to `by_maps`."""
        _convolve(gradient, kernel, by_maps, self.back_job, self.back_room, by_maps)

    def by_kernel(self, maps: Tensor, gradient: Tensor, kernel: Tensor) -> Tensor:
        result = torch.empty(kernel.shape, memory_format=torch.channels_last)
        room = torch.empty(self.kernel_room, dtype=torch.int32)
        library(maps.dtype).matrix_kernel_gradient(
            *pointers(maps, gradient, result, room), ctypes.byref(self.kernel_job)
        )
        return result.to(kernel.dtype)


def plan(maps: Tensor, kernel: Tensor, windows: Windows) -> Plan:
    """For the convolution of such `maps` (N, C, H, W) with a `kernel` (K, C, side, side), over `windows`."""
    return _plan(maps.shape, len(kernel), windows, torch.get_num_threads())


def _convolve(
    maps: Tensor, kernel: Tensor, addend: Tensor | None, job: _Job, words: int, result: Tensor | None = None
) -> Tensor:
    """To `result`, which may be `addend` itself; or to a new tensor."""
    taps = kernel.detach().float().contiguous(memory_format=torch.channels_last)
    if result is None:
        shape = job.images, job.filters, job.tall, job.wide
        result = torch.empty(shape, dtype=maps.dtype, memory_format=torch.channels_last)
    room = torch.empty(words, dtype=torch.int32)
    library(maps.dtype).matrix_convolve(*pointers(maps, taps, addend, result, room), ctypes.byref(job))
    return result


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
    rooms = (_room("matrix_room", job) for job in (forward, backward))
    return Plan(forward, next(rooms), backward, next(rooms), kernel, _room("matrix_kernel_room", kernel))


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
    job.strips = 1
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


def _room(name: str, job: _Job) -> int:
    """The words that a job works in, as the function `name` tells."""
    tell = getattr(library(torch.bfloat16), name)
    tell.restype = ctypes.c_int64
    return int(tell(ctypes.byref(job)))
