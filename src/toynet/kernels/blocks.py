"""Residual blocks of two 3x3 convolutions as one function each, with its gradients.

As one function the layers cost autograd nothing, what is carried past them is added where a layer writes
anyhow, and a gradient inside is written over the one that it comes from. Results are those of the layers one
by one, but for rounding where something is added and in a 1x1 convolution.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from toynet.kernels import matrix, pointwise, winograd
from toynet.kernels.convolution import Plan
from toynet.kernels.maps import Activation, norm_backward, norm_forward
from toynet.kernels.windows import Windows

Three = tuple[Tensor | None, Tensor | None, Tensor | None]


class Unit(NamedTuple):
    """Batch norm, the activation behind it, and a convolution (K, C, 3, 3) over windows: first or last.

    in_matrix_unit: or else by Winograd's filtering.
    """

    norm: nn.BatchNorm2d
    activation: Activation
    kernel: Tensor
    windows: Windows
    in_matrix_unit: bool = False

    @property
    def weights(self) -> Three:
        return self.norm.weight, self.norm.bias, self.kernel

    def plan(self, maps: Tensor) -> Plan:
        return (matrix.plan if self.in_matrix_unit else winograd.plan)(maps, self.kernel, self.windows)

    def shape(self, images: int) -> torch.Size:
        """Of what the convolution makes of so many maps."""
        return torch.Size((images, len(self.kernel), self.windows.tall, self.windows.wide))


class Shortcut(NamedTuple):
    """A 1x1 convolution (K, C, 1, 1) over windows, and batch norm behind it, if any.

    in_matrix_unit: or else in vector registers.
    """

    kernel: Tensor
    windows: Windows
    norm: nn.BatchNorm2d | None = None
    in_matrix_unit: bool = False

    @property
    def weights(self) -> Three:
        norm = self.norm
        return (self.kernel, norm.weight, norm.bias) if norm else (self.kernel, None, None)

    def convolve(self, maps: Tensor) -> Tensor:
        if self.in_matrix_unit:
            return matrix.plan(maps, self.kernel, self.windows).convolve(maps, self.kernel)
        return pointwise.convolve(maps, self.kernel, self.windows)

    def add_gradients(self, maps: Tensor, gradient: Tensor, by_maps: Tensor) -> Tensor:
        """The gradient by the kernel; that by the maps is added to `by_maps`."""
        add = matrix.add_gradients if self.in_matrix_unit else pointwise.add_gradients
        return add(maps, self.kernel, self.windows, gradient, by_maps)


def preact(maps: Tensor, first: Unit, second: Unit, shortcut: Shortcut | None = None) -> Tensor:
    """Norm, activation and convolution, twice, plus the maps or what a shortcut makes of them once activated.

    (N, C, H, W) -> (N, K, tall, wide), in training. `maps.takes` the maps, and all channels
    are such as `matrix.takes`, or `winograd.takes`.
    Source: He et al. 2016, "Identity mappings in deep residual networks", arXiv:1603.05027.
    """
    return _apply(_Preact, maps, first, second, shortcut)


def postact(maps: Tensor, first: Unit, second: Unit, shortcut: Shortcut | None = None) -> Tensor:
    """Convolution, norm, activation, convolution, norm, plus the maps or what a shortcut makes of them, ReLU.

    That is the second unit's activation; the rest is as in `preact`.
    Source: He et al. 2015, "Deep residual learning for image recognition", arXiv:1512.03385.
    """
    return _apply(_Postact, maps, first, second, shortcut)


def _apply(
    function: type[torch.autograd.Function],
    maps: Tensor,
    first: Unit,
    second: Unit,
    shortcut: Shortcut | None,
) -> Tensor:
    past = shortcut.weights if shortcut else (None, None, None)
    parts = first, second, shortcut
    result: Tensor = function.apply(maps, *first.weights, *second.weights, *past, parts)  # type: ignore[no-untyped-call]
    return result


class _Preact(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, *given: Any) -> Tensor:
        *weights, ctx.parts = given
        first, second, shortcut = ctx.parts
        opened, of_maps = norm_forward(maps, first.norm, first.activation)
        carried, past, of_past = _carry(shortcut, opened) if shortcut else (maps, None, None)
        middle = first.plan(opened).convolve(opened, first.kernel)
        ready, of_middle = norm_forward(middle, second.norm, second.activation)
        ctx.save_for_backward(maps, of_maps, opened, middle, of_middle, ready, past, of_past, *weights)
        return second.plan(ready).convolve(ready, second.kernel, carried)  # type: ignore[no-any-return]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        first, second, shortcut = ctx.parts
        maps, of_maps, opened, middle, of_middle, ready, past, of_past, *weights = ctx.saved_tensors
        weight, bias, kernel, next_weight, next_bias, next_kernel, *past_weights = weights
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)

        plan = second.plan(ready)
        by_next_kernel = plan.by_kernel(ready, gradient, next_kernel)
        by_middle, *by_next_norm = norm_backward(
            *(middle, next_weight, next_bias, of_middle, plan.by_maps(gradient, next_kernel)),
            activation=second.activation,
            in_place=True,
        )
        plan = first.plan(opened)
        by_kernel = plan.by_kernel(opened, by_middle, kernel)
        by_opened = plan.by_maps(by_middle, kernel)
        by_past: Three = (None, None, None)
        if shortcut:
            by_past = _carry_back(shortcut, opened, past, of_past, past_weights, gradient, by_opened)
        by_maps, *by_norm = norm_backward(
            *(maps, weight, bias, of_maps, by_opened),
            activation=first.activation,
            past=None if shortcut else gradient,
            in_place=True,
        )
        return by_maps, *by_norm, by_kernel, *by_next_norm, by_next_kernel, *by_past, None


class _Postact(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, *given: Any) -> Tensor:
        *weights, ctx.parts = given
        first, second, shortcut = ctx.parts
        found = first.plan(maps).convolve(maps, first.kernel)
        middle, of_found = norm_forward(found, first.norm, first.activation)
        last = second.plan(middle).convolve(middle, second.kernel)
        carried, past, of_past = _carry(shortcut, maps) if shortcut else (maps, None, None)
        result, of_last = norm_forward(last, second.norm, second.activation, addend=carried)
        ctx.save_for_backward(maps, found, of_found, middle, last, of_last, past, of_past, result, *weights)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        first, second, shortcut = ctx.parts
        maps, found, of_found, middle, last, of_last, past, of_past, result, *weights = ctx.saved_tensors
        weight, bias, kernel, next_weight, next_bias, next_kernel, *past_weights = weights
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)

        by_carried = torch.empty_like(gradient)
        by_last, *by_next_norm = norm_backward(
            *(last, next_weight, next_bias, of_last, gradient),
            activation=second.activation,
            outputs=result,
            by_addend=by_carried,
        )
        plan = second.plan(middle)
        by_next_kernel = plan.by_kernel(middle, by_last, next_kernel)
        by_found, *by_norm = norm_backward(
            *(found, weight, bias, of_found, plan.by_maps(by_last, next_kernel)),
            activation=first.activation,
            in_place=True,
        )
        plan = first.plan(maps)
        by_kernel = plan.by_kernel(maps, by_found, kernel)
        by_maps = plan.by_maps(by_found, kernel, None if shortcut else by_carried)
        by_past: Three = (None, None, None)
        if shortcut:
            by_past = _carry_back(shortcut, maps, past, of_past, past_weights, by_carried, by_maps)
        return by_maps, *by_norm, by_kernel, *by_next_norm, by_next_kernel, *by_past, None


def _carry(shortcut: Shortcut, maps: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """What is carried past a block; and for its gradient the convolution's results, and their statistics."""
    found = shortcut.convolve(maps)
    if shortcut.norm is None:
        return found, None, None
    carried, statistics = norm_forward(found, shortcut.norm, "none")
    return carried, found, statistics


def _carry_back(
    shortcut: Shortcut,
    maps: Tensor,
    found: Tensor | None,
    statistics: Tensor | None,
    weights: list[Tensor],
    gradient: Tensor,
    by_maps: Tensor,
) -> Three:
    """The gradients by the shortcut's weights, from that by what it carried; that by maps is added there."""
    _, weight, bias = weights
    by_weight = by_bias = None
    if found is not None and statistics is not None:
        gradient, by_weight, by_bias = norm_backward(
            found, weight, bias, statistics, gradient, activation="none"
        )
    by_kernel = shortcut.add_gradients(maps, gradient, by_maps)
    return by_kernel, by_weight, by_bias
