"""Batch norm with its activation, and max-pooling, of bf16 or fp32 maps in channels-last order.

Each is one function that reads and writes a map as few times as possible, where torch takes several passes:
`maps.c` has them. Results equal torch's to the rounding of the maps' numbers.
"""

import ctypes
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from toynet.kernels.build import library, obstacle, pointers

Activation = Literal["none", "relu", "gelu"]

MOST_CHANNELS = 4096
_CODES: dict[Activation, int] = {"none": 0, "relu": 1, "gelu": 2}


def takes(maps: Tensor) -> bool:
    """Whether functions here can be had for `maps`: (N, C, H, W) bf16 or fp32, channels-last, on a CPU."""
    return (
        maps.device.type == "cpu"
        and obstacle(maps.dtype) is None
        and maps.ndim == 4
        and 0 < maps.shape[1] <= MOST_CHANNELS
        and maps.numel() > 0
        and maps.is_contiguous(memory_format=torch.channels_last)
    )


def norm_act(maps: Tensor, norm: nn.BatchNorm2d, activation: Activation) -> Tensor:
    """`activation` of `norm` of `maps` (N, C, H, W), which `takes` them.

    `norm` must have weights, averages and a momentum. In training it moves the averages; in evaluation no
    gradient passes.
    """
    return norm_act_beside(maps, norm, activation)[0]


def norm_act_beside(maps: Tensor, norm: nn.BatchNorm2d, activation: Activation) -> tuple[Tensor, Tensor]:
    """`norm_act` of `maps`, and `maps` themselves, to be carried past it.

    Where both are used, the sum of their gradients costs no pass of its own.
    """
    if not norm.training:
        return _evaluate(maps, norm, activation), maps
    both: tuple[Tensor, Tensor] = _NormAct.apply(maps, norm.weight, norm.bias, norm, activation)  # type: ignore[no-untyped-call]
    return both


def max_pool(maps: Tensor) -> Tensor:
    """The largest of every 2x2 window: (N, C, H, W) -> (N, C, H // 2, W // 2)."""
    result: Tensor = _MaxPool.apply(maps)  # type: ignore[no-untyped-call]
    return result


@torch.no_grad()
def _evaluate(maps: Tensor, norm: nn.BatchNorm2d, activation: Activation) -> Tensor:
    result = torch.empty_like(maps)
    mean, variance, _, _ = _averages(norm)
    scale = norm.weight / (variance + norm.eps).sqrt()
    shift = norm.bias - mean * scale
    library(maps.dtype).scale_shift(
        *pointers(maps, result),
        *_shape(maps),
        *pointers(scale, shift),
        _CODES[activation],
        torch.get_num_threads(),
    )
    return result


class _NormAct(torch.autograd.Function):
    """The batch's mean and variance, then the rest: two passes; and two for the gradients."""

    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, norm: nn.BatchNorm2d, activation: Activation
    ) -> tuple[Tensor, Tensor]:
        result, statistics = norm_forward(maps, norm, activation)
        ctx.save_for_backward(maps, weight, bias, statistics)
        ctx.activation = activation
        ctx.set_materialize_grads(False)
        return result, maps.view_as(maps)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, *gradients: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        gradient, past = (_channels_last(one) for one in gradients)
        if gradient is None:
            return past, None, None, None, None
        maps, weight, bias, statistics = ctx.saved_tensors
        by_maps, by_weight, by_bias = norm_backward(
            maps, weight, bias, statistics, gradient, activation=ctx.activation, past=past
        )
        wanted = ctx.needs_input_grad
        return by_maps, by_weight if wanted[1] else None, by_bias if wanted[2] else None, None, None


def norm_forward(
    maps: Tensor, norm: nn.BatchNorm2d, activation: Activation, *, addend: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`norm_act` in training, outside of autograd; and the maps' mean and 1 / standard deviation (2, C).

    addend: what is added before the activation, which then must be ReLU.
    """
    channels = maps.shape[1]
    result = torch.empty_like(maps)
    statistics = torch.empty(2, channels)
    threads = torch.get_num_threads()
    partial = torch.empty(threads, 2 * channels, dtype=torch.float64)
    moving_mean, moving_variance, seen, momentum = _averages(norm)
    library(maps.dtype).norm_forward(
        *pointers(maps, addend, result),
        *_shape(maps),
        *pointers(norm.weight, norm.bias, moving_mean, moving_variance),
        ctypes.c_float(momentum),
        ctypes.c_float(norm.eps),
        *pointers(statistics, partial),
        _CODES[activation],
        threads,
    )
    seen.add_(1)
    return result, statistics


def norm_backward(
    maps: Tensor,
    weight: Tensor,
    bias: Tensor,
    statistics: Tensor,
    gradient: Tensor,
    *,
    activation: Activation,
    past: Tensor | None = None,
    outputs: Tensor | None = None,
    by_addend: Tensor | None = None,
    in_place: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of `norm_forward` by maps, weight and bias, from `gradient`, that by its result.

    past: what comes to the maps by another way; it is added. outputs: the result, where there was an addend,
    the gradient by which goes into `by_addend`. in_place: `gradient` becomes that by the maps.
    """
    by_maps = gradient if in_place else torch.empty_like(maps)
    by_weight, by_bias = torch.empty_like(weight), torch.empty_like(bias)
    threads = torch.get_num_threads()
    partial = torch.empty(threads, 2 * maps.shape[1], dtype=torch.float64)
    library(maps.dtype).norm_backward(
        *pointers(maps, outputs, gradient, past, by_maps, by_addend),
        *_shape(maps),
        *pointers(weight, bias, statistics, by_weight, by_bias, partial),
        _CODES[activation],
        threads,
    )
    return by_maps, by_weight, by_bias


def _averages(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor, Tensor, float]:
    """The moving mean and variance, the number of batches seen, and the newest one's weight."""
    mean, variance, seen, momentum = (
        norm.running_mean,
        norm.running_var,
        norm.num_batches_tracked,
        norm.momentum,
    )
    if mean is None or variance is None or seen is None or momentum is None:
        raise ValueError("a batch norm for compiled functions needs moving averages and a momentum")
    return mean, variance, seen, momentum


def _channels_last(maps: Tensor | None) -> Tensor | None:
    return None if maps is None else maps.contiguous(memory_format=torch.channels_last)


class _MaxPool(torch.autograd.Function):
    """Keeps one byte a window: where its largest value was."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        images, channels, height, width = maps.shape
        shape = images, channels, height // 2, width // 2
        result = torch.empty(shape, dtype=maps.dtype, memory_format=torch.channels_last)
        place = torch.empty(shape, dtype=torch.uint8, memory_format=torch.channels_last)
        sizes = [ctypes.c_int64(size) for size in (images, height, width, channels)]
        library(maps.dtype).pool_forward(*pointers(maps, result, place), *sizes, torch.get_num_threads())
        ctx.save_for_backward(place)
        ctx.shape = maps.shape
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (place,) = ctx.saved_tensors
        images, channels, height, width = ctx.shape
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        result = torch.empty(ctx.shape, dtype=gradient.dtype, memory_format=torch.channels_last)
        sizes = [ctypes.c_int64(size) for size in (images, height, width, channels)]
        library(gradient.dtype).pool_backward(
            *pointers(gradient, place, result), *sizes, torch.get_num_threads()
        )
        return result


def _shape(maps: Tensor) -> tuple[ctypes.c_int64, ctypes.c_int64]:
    """Rows and channels."""
    channels = maps.shape[1]
    return ctypes.c_int64(maps.numel() // channels), ctypes.c_int64(channels)
