"""A convolution gone about by a plan, with its gradients: what the ways here have in common."""

import ctypes
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from toynet.kernels.build import library, pointers
from toynet.kernels.windows import Windows


class Task(NamedTuple):
    """What a C function of this name is given to do, and the words that it works in."""

    function: str
    job: ctypes.Structure
    words: int


def task(function: str, job: ctypes.Structure, numbers: torch.dtype) -> Task:
    """For maps of `numbers`; the function has another beside it that tells its words."""
    tell = getattr(library(numbers), f"{function}_room")
    tell.restype = ctypes.c_int64
    return Task(function, job, int(tell(ctypes.byref(job))))


class Plan(NamedTuple):
    """How a convolution and its gradients are gone about, outside of autograd."""

    forward: Task
    backward: Task
    kernel: Task

    def convolve(self, maps: Tensor, kernel: Tensor, addend: Tensor | None = None) -> Tensor:
        """The convolution, plus `addend`."""
        return filtered(self.forward, maps, kernel, addend)

    def by_maps(self, gradient: Tensor, kernel: Tensor, addend: Tensor | None = None) -> Tensor:
        """The gradient by the maps, from `gradient`, that by the results; plus `addend`."""
        return filtered(self.backward, gradient, kernel, addend)

    def by_kernel(self, maps: Tensor, gradient: Tensor, kernel: Tensor) -> Tensor:
        """The gradient by the kernel."""
        result = torch.empty(kernel.shape, memory_format=torch.channels_last)
        _call(self.kernel, maps, gradient, result)
        return result.to(kernel.dtype)


def filtered(
    task: Task, maps: Tensor, kernel: Tensor, addend: Tensor | None, result: Tensor | None = None
) -> Tensor:
    """What a task makes of maps, plus `addend`; in `result` or a new tensor."""
    taps = kernel.detach().float().contiguous(memory_format=torch.channels_last)
    if result is None:
        shape = task.job.images, task.job.filters, task.job.tall, task.job.wide
        result = torch.empty(shape, dtype=maps.dtype, memory_format=torch.channels_last)
    _call(task, maps, taps, addend, result)
    return result


def convolve(plan: Plan, maps: Tensor, kernel: Tensor, windows: Windows, addend: Tensor | None) -> Tensor:
    """By `plan`, that of channels-last `maps` (N, C, H, W) with `kernel` (K, C, side, side) over `windows`.

    Plus `addend` of the same kind and shape: (N, K, tall, wide).

    Raises `ValueError` where `addend` has another shape.
    """
    shape = len(maps), len(kernel), windows.tall, windows.wide
    if addend is not None and addend.shape != shape:
        raise ValueError(f"a convolution's outputs of {shape} cannot be added to {tuple(addend.shape)}")
    result: Tensor = _Convolution.apply(maps, kernel, plan, addend)  # type: ignore[no-untyped-call]
    return result


def _call(task: Task, maps: Tensor, *others: Tensor | None) -> None:
    room = torch.empty(task.words, dtype=torch.int32)
    call = getattr(library(maps.dtype), task.function)
    call(*pointers(maps, *others, room), ctypes.byref(task.job))


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, kernel: Tensor, plan: Plan, addend: Tensor | None) -> Tensor:
        ctx.save_for_backward(maps, kernel)
        ctx.plan = plan
        return plan.convolve(maps, kernel, addend)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, Tensor | None]:
        maps, kernel = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        wanted = ctx.needs_input_grad
        by_maps = ctx.plan.by_maps(gradient, kernel) if wanted[0] else None
        by_kernel = ctx.plan.by_kernel(maps, gradient, kernel) if wanted[1] else None
        return by_maps, by_kernel, None, gradient if wanted[3] else None
