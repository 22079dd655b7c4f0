"""Residual blocks that a compiled function takes as a whole, where it can."""

from typing import TypeGuard

import torch
from torch import Tensor, nn

from toynet.kernels import blocks, winograd
from toynet.models.chain import Chain, activation_of
from toynet.models.same import SameConv, takes


def whole(
    maps: Tensor, entry: Chain, branch: Chain, exit: Chain, shortcut: nn.Module | None
) -> Tensor | None:
    """The result of the block of these parts for `maps` (N, C, H, W); none where it must go layer by layer.

    It is had in training, of two units of batch norm, activation and 3x3 convolution by Winograd's filtering
    or in a matrix unit, in `pre` or `post` order, beside nothing or a 1x1 convolution with batch norm behind
    it or without. Hooks on the layers are passed over.
    """
    if not (branch.compiled and takes(maps)):
        return None
    match [*entry], [*branch], [*exit]:
        case [norm, activation], [conv, next_norm, next_activation, next_conv], []:
            function = blocks.preact
        case [], [conv, norm, activation, next_conv, next_norm], [nn.ReLU() as next_activation]:
            function = blocks.postact
        case _:
            return None
    first = _unit(norm, activation, conv, maps.shape, maps.dtype)
    second = (
        _unit(next_norm, next_activation, next_conv, first.shape(len(maps)), maps.dtype) if first else None
    )
    if first is None or second is None:
        return None
    if shortcut is None:
        return function(maps, first, second)
    past = _shortcut([*shortcut.children()], maps.shape, maps.dtype)
    return function(maps, first, second, past) if past else None


def _unit(
    norm: nn.Module, activation: nn.Module, conv: nn.Module, shape: torch.Size, numbers: torch.dtype
) -> blocks.Unit | None:
    """The three, whose convolution is given maps of `shape` that hold `numbers`, if they are such a unit."""
    known = activation_of(activation)
    if known is None or not _learns(norm) or not isinstance(conv, SameConv) or conv.kernel_size != (3, 3):
        return None
    if conv.in_channels != shape[1]:
        return None
    windows = conv.windows(shape)
    way = conv.way(windows, shape[0], numbers)
    if way not in ("winograd", "matrix"):
        return None
    return blocks.Unit(norm, known, conv.weight, windows, in_matrix_unit=way == "matrix")


def _shortcut(layers: list[nn.Module], shape: torch.Size, numbers: torch.dtype) -> blocks.Shortcut | None:
    """`layers`, which are given maps of `shape`, if they are such a shortcut."""
    match layers:
        case [SameConv(kernel_size=(1, 1)) as conv, *norm] if winograd.takes(
            conv.in_channels, conv.out_channels
        ):
            windows = conv.windows(shape)
            in_matrix_unit = conv.way(windows, shape[0], numbers) == "matrix"
            if not norm:
                return blocks.Shortcut(conv.weight, windows, in_matrix_unit=in_matrix_unit)
            if len(norm) == 1 and _learns(norm[0]):
                return blocks.Shortcut(conv.weight, windows, norm[0], in_matrix_unit=in_matrix_unit)
    return None


def _learns(norm: nn.Module) -> TypeGuard[nn.BatchNorm2d]:
    """Whether it is a batch norm in training: not a kind of it, which may look at more than these maps."""
    return type(norm) is nn.BatchNorm2d and norm.training
