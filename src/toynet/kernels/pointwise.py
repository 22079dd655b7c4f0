"""1x1 convolutions at a stride, and their gradients, as products with the pixels that they look at.

`pointwise.c` has them. They serve inside of functions with gradients of their own: what a convolution beside
them found for the maps, they add to.
"""

import ctypes
from functools import lru_cache

import torch
from torch import Tensor

from toynet.kernels.build import library, pointers
from toynet.kernels.windows import Windows


class Job(ctypes.Structure):
    """As `pointwise` of `pointwise.c`."""

    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in (
            *("images", "height", "width", "channels", "tall", "wide", "filters"),
            *("stride", "threads"),
        )
    )


def convolve(maps: Tensor, kernel: Tensor, windows: Windows) -> Tensor:
    """The convolution of channels-last `maps` (N, C, H, W) with `kernel` (K, C, 1, 1): (N, K, tall, wide)."""
    job, words = _job(maps.shape, maps.dtype, len(kernel), windows, torch.get_num_threads())
    shape = job.images, job.filters, job.tall, job.wide
    result = torch.empty(shape, dtype=maps.dtype, memory_format=torch.channels_last)
    room = torch.empty(words, dtype=torch.int32)
    library(maps.dtype).pointwise_filter(*pointers(maps, _taps(kernel), result, room), ctypes.byref(job))
    return result


def add_gradients(
    maps: Tensor, kernel: Tensor, windows: Windows, gradient: Tensor, by_maps: Tensor
) -> Tensor:
    """The gradient of `convolve` by the kernel, from `gradient`, that by its result.

    The one by the maps is added to `by_maps`, in place.
    """
    job, words = _job(maps.shape, maps.dtype, len(kernel), windows, torch.get_num_threads())
    by_kernel = torch.empty(kernel.shape, memory_format=torch.channels_last)
    room = torch.empty(words, dtype=torch.int32)
    library(maps.dtype).pointwise_gradients(
        *pointers(maps, gradient, _taps(kernel), by_maps, by_kernel, room), ctypes.byref(job)
    )
    return by_kernel.to(kernel.dtype)


def _taps(kernel: Tensor) -> Tensor:
    return kernel.detach().float().contiguous()


@lru_cache(maxsize=256)
def _job(
    shape: torch.Size, numbers: torch.dtype, filters: int, windows: Windows, threads: int
) -> tuple[Job, int]:
    """The job, and the words that it works in."""
    images, channels, height, width = shape
    there = images, height, width, channels, windows.tall, windows.wide, filters
    job = Job(*there, windows.stride, threads)
    tell = library(numbers).pointwise_room
    tell.restype = ctypes.c_int64
    return job, int(tell(ctypes.byref(job)))
