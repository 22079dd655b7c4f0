"""A convolution gone about by a plan, with its gradients: what the ways here have in common."""

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from toynet.kernels.windows import Windows


class Plan(Protocol):
    """How a convolution and its gradients are gone about, outside of autograd."""

    def convolve(self, maps: Tensor, kernel: Tensor, addend: Tensor | None = None) -> Tensor:
        """The convolution, plus `addend`."""

    def by_maps(self, gradient: Tensor, kernel: Tensor, addend: Tensor | None = None) -> Tensor:
        """The gradient by the maps, from `gradient`, that by the results; plus `addend`."""

    def by_kernel(self, maps: Tensor, gradient: Tensor, kernel: Tensor) -> Tensor:
        """The gradient by the kernel."""


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
