"""A network as plain layers of torch, with batch norm folded into the convolutions before it.

Folding is exact where a norm follows a convolution directly: everywhere in `post` order, for every norm but
a block's first in `pre` order. Where an addition, a pooling or a ReLU stands between (the first norm of a
pre-activation block, `relu_bn` order), the norm stays, as one scale and one shift for each channel.
"""

import copy
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from toynet.models.chain import Chain
from toynet.models.same import SameConv


class Folded(NamedTuple):
    """A network for evaluation only; how many norms went into convolutions, and how many stay."""

    model: nn.Module
    folded: int
    kept: int


class PaddedConv(nn.Module):
    """`SameConv` with a bias: (N, C, H, W) -> (N, K, H/stride, W/stride), rounded up."""

    def __init__(self, convolution: SameConv) -> None:
        super().__init__()
        self.lines, self.stride = convolution.lines, convolution.stride
        self.weight = convolution.weight
        bias = torch.zeros(convolution.out_channels, dtype=convolution.weight.dtype)
        self.bias = nn.Parameter(bias, requires_grad=False)

    def forward(self, maps: Tensor) -> Tensor:
        (top, bottom), (left, right) = self.lines(maps.shape)
        if top == bottom and left == right:
            return F.conv2d(maps, self.weight, self.bias, self.stride, (top, left))
        return F.conv2d(F.pad(maps, (left, right, top, bottom)), self.weight, self.bias, self.stride)


def fold(model: nn.Module) -> Folded:
    """A folded copy of `model`, whose arithmetic is that of its weights' dtype, without compiled kernels."""
    plain = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    before = _norms(plain)
    for part in plain.modules():
        if isinstance(part, Chain | SameConv):
            part.compiled = False
        if isinstance(part, Chain):
            _fold_chain(part)
    kept = _norms(plain)
    return Folded(plain, before - kept, kept)


def _fold_chain(chain: Chain) -> None:
    for (name, part), (following_name, following) in pairwise([*chain.named_children(), ("", None)]):
        if isinstance(part, nn.Conv2d):
            followed = isinstance(following, nn.BatchNorm2d)
            setattr(chain, name, _with_bias(part, following if followed else None))  # type: ignore[arg-type]
            if followed:
                delattr(chain, following_name)


@torch.no_grad()
def _with_bias(convolution: nn.Conv2d, norm: nn.BatchNorm2d | None) -> nn.Module:
    """The convolution with a bias, and with `norm` in its weights, computed in float64."""
    if isinstance(convolution, SameConv):
        made: nn.Module = PaddedConv(convolution)
    else:
        made = convolution
    if norm is not None:
        assert norm.running_mean is not None and norm.running_var is not None  # noqa: PT018
        scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        weight, bias = made.get_parameter("weight"), made.get_parameter("bias")
        bias.copy_((bias.double() - norm.running_mean.double()) * scale + norm.bias.double())
        weight.copy_(weight.double() * scale.view(-1, 1, 1, 1))
    return made


def _norms(model: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in model.modules())
