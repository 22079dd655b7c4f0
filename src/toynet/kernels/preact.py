"""A pre-activation residual block as one function, with its gradients.

Batch norm, activation and 3x3 convolution, twice over, plus what is carried past them. As one function its
layers cost autograd nothing, and a gradient inside is written over the one that it comes from. Results are
those of the layers one by one, but for the rounding of a 1x1 convolution.
Source: He et al. 2016, "Identity mappings in deep residual networks", arXiv:1603.05027.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from toynet.kernels import pointwise, winograd
from toynet.kernels.maps import Activation, norm_backward, norm_forward
from toynet.kernels.windows import Windows


class Unit(NamedTuple):
    """Batch norm, the activation behind it, and a convolution (K, C, 3, 3) over windows."""

    norm: nn.BatchNorm2d
    activation: Activation
    kernel: Tensor
    windows: Windows

    @property
    def weights(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.norm.weight, self.norm.bias, self.kernel

    def shape(self, images: int) -> torch.Size:
        """Of what comes out."""
        return torch.Size((images, len(self.kernel), self.windows.tall, self.windows.wide))


class Shortcut(NamedTuple):
    """A 1x1 convolution (K, C, 1, 1) over windows of the first activation's results."""

    kernel: Tensor
    windows: Windows


def block(maps: Tensor, first: Unit, second: Unit, shortcut: Shortcut | None = None) -> Tensor:
    """The block of `maps` (N, C, H, W), in training; without `shortcut` they are carried past as they are.

    `maps.takes` the maps, and `winograd.takes` all numbers of channels.
    """
    past = shortcut.kernel if shortcut else None
    parts = first, second, shortcut
    result: Tensor = _Block.apply(maps, *first.weights, *second.weights, past, parts)  # type: ignore[no-untyped-call]
    return result


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, *given: Any) -> Tensor:
        *weights, (first, second, shortcut) = given
        opened, of_maps = norm_forward(maps, first.norm, first.activation)
        carried = pointwise.convolve(opened, *shortcut) if shortcut else maps
        middle = _plan(opened, first).convolve(opened, first.kernel)
        ready, of_middle = norm_forward(middle, second.norm, second.activation)
        ctx.save_for_backward(maps, of_maps, opened, middle, of_middle, ready, *weights)
        ctx.parts = first, second, shortcut
        return _plan(ready, second).convolve(ready, second.kernel, carried)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        first, second, shortcut = ctx.parts
        maps, of_maps, opened, middle, of_middle, ready, *weights = ctx.saved_tensors
        weight, bias, kernel, next_weight, next_bias, next_kernel, past_kernel = weights
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)

        plan = _plan(ready, second)
        by_next_kernel = plan.by_kernel(ready, gradient, next_kernel)
        by_middle, by_next_weight, by_next_bias = norm_backward(
            *(middle, next_weight, next_bias, of_middle, plan.by_maps(gradient, next_kernel)),
            activation=second.activation,
            in_place=True,
        )
        plan = _plan(opened, first)
        by_kernel = plan.by_kernel(opened, by_middle, kernel)
        by_opened = plan.by_maps(by_middle, kernel)
        by_past_kernel = None
        if shortcut:
            by_past_kernel = pointwise.add_gradients(
                opened, past_kernel, shortcut.windows, gradient, by_opened
            )
        by_maps, by_weight, by_bias = norm_backward(
            *(maps, weight, bias, of_maps, by_opened),
            activation=first.activation,
            past=None if shortcut else gradient,
            in_place=True,
        )
        by_first, by_second = (by_weight, by_bias, by_kernel), (by_next_weight, by_next_bias, by_next_kernel)
        return by_maps, *by_first, *by_second, by_past_kernel, None


def _plan(maps: Tensor, unit: Unit) -> winograd.Plan:
    return winograd.plan(maps, unit.kernel, unit.windows)
