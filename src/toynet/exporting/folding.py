"""A network as plain layers of torch, with batch norm folded into the convolutions before it.

Folding is exact where a norm follows a convolution directly: everywhere in `post` order, for every norm but
a block's first in `pre` order. Where an addition or a ReLU stands between (the first norm of a pre-activation
block, `relu_bn` order), the norm stays, as one scale and shift for each channel.
"""

import copy
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from toynet.models.blocks import ResidualBlock
from toynet.models.chain import Chain
from toynet.models.same import SameConv


class PaddedConv(nn.Module):
    """`nn.Conv2d` behind zeros where its input needs more at the bottom and right than at the top and left."""

    def __init__(self, convolution: SameConv) -> None:
        super().__init__()
        self.lines = convolution.lines
        self.conv = nn.Conv2d(
            convolution.in_channels,
            convolution.out_channels,
            convolution.kernel_size[0],
            stride=convolution.stride[0],
            bias=True,
        )
        with torch.no_grad():
            self.conv.weight.copy_(convolution.weight)
            self.conv.bias.zero_()  # type: ignore[union-attr]

    def forward(self, maps: Tensor) -> Tensor:
        (top, bottom), (left, right) = self.lines(maps)
        if any((top, bottom, left, right)):
            maps = F.pad(maps, (left, right, top, bottom))
        found: Tensor = self.conv(maps)
        return found


def fold(model: nn.Module) -> tuple[nn.Module, int, int]:
    """A copy of `model` for evaluation only; how many norms were folded, and how many stay."""
    folded = copy.deepcopy(model).eval().requires_grad_(False)
    before = _norms(folded)
    for path, part in list(folded.named_modules()):
        if isinstance(part, Chain):
            _fold_chain(part)
        elif isinstance(part, nn.ReLU):
            part.inplace = False
        elif isinstance(part, ResidualBlock):
            _fold_chain(part.branch)
        del path
    return folded, before - _norms(folded), _norms(folded)


def _norms(model: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in model.modules())
