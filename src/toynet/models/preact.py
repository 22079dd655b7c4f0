"""Residual blocks in `pre` order that a compiled function takes as a whole, where it can."""

import torch
from torch import Tensor, nn

from toynet.kernels import preact, winograd
from toynet.models.chain import Chain, activation_of
from toynet.models.same import SameConv, takes


def whole(maps: Tensor, entry: Chain, branch: Chain, shortcut: nn.Module | None) -> Tensor | None:
    """The result of the block of these parts for `maps` (N, C, H, W); none where it must go layer by layer.

    It is had in training, of two units of batch norm, activation and 3x3 convolution by Winograd's filtering,
    beside nothing or a 1x1 convolution. Hooks on the layers are passed over.
    """
    layers = [*entry, *branch]
    if not (entry.compiled and len(entry) == 2 and len(layers) == 6 and takes(maps)):
        return None
    first = _unit(layers[:3], maps.shape, maps.dtype)
    second = _unit(layers[3:], first.shape(len(maps)), maps.dtype) if first else None
    if first is None or second is None:
        return None
    if shortcut is None:
        return preact.block(maps, first, second)
    match [*shortcut.children()]:
        case [SameConv(kernel_size=(1, 1)) as conv] if winograd.takes(conv.in_channels, conv.out_channels):
            past = preact.Shortcut(conv.weight, conv.windows(maps.shape))
            return preact.block(maps, first, second, past)
    return None


def _unit(layers: list[nn.Module], shape: torch.Size, numbers: torch.dtype) -> preact.Unit | None:
    """`layers` for maps of `shape` that hold `numbers`, if they are what such a block is made of."""
    norm, activation, conv = layers
    # Not of a kind of batch norm, such as one that looks at more than these maps.
    if type(norm) is not nn.BatchNorm2d or not norm.training:
        return None
    known = activation_of(activation)
    if known is None or not isinstance(conv, SameConv) or conv.kernel_size != (3, 3):
        return None
    windows = conv.windows(shape)
    if conv.way(windows, shape[0], numbers) != "winograd":
        return None
    return preact.Unit(norm, known, conv.weight, windows)
