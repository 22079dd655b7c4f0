"""The parts of every residual network here: convolution, normalisation, shortcut, block.

Convolutions pad as Keras' `padding="same"` does, normalisation has the report's constants, and one
`ResidualBlock` serves ToyNet and PureResNet in three orders:

    pre      BN, ReLU, conv    He et al. 2016, "Identity mappings", arXiv:1603.05027
    post     conv, BN, ReLU    He et al. 2015, arXiv:1512.03385, with a ReLU after the addition
    relu_bn  conv, ReLU, BN    one of the report's trials (section 3.2); nothing after the addition

Tensors are (N, C, H, W); channels_last tensors stay channels_last through every part.
"""

from collections import OrderedDict

from torch import Tensor, nn
from torch.nn import functional as F

from toynet.models.architectures import BOTTLENECK_EXPANSION, Layer, Step, sequence
from toynet.models.chain import Chain
from toynet.models.same import SameConv
from toynet.models.spec import Order, Shortcut
from toynet.models.whole import whole

NORM_EPSILON = 1.001e-5
NORM_MOMENTUM = 0.01
"""Weight of the newest batch; Keras calls the same thing momentum 0.99."""


def conv(in_channels: int, out_channels: int, side: int, stride: int = 1) -> SameConv:
    """A `side` x `side` convolution (1 or 3) without bias, padded as Keras' "same"."""
    return SameConv(in_channels, out_channels, side, stride)


def norm(channels: int) -> nn.BatchNorm2d:
    """Batch normalisation with the report's constants.

    The moving variance takes the unbiased batch variance, as torch does; Keras 3 takes the biased one,
    smaller by 1/(N H W).
    """
    return nn.BatchNorm2d(channels, eps=NORM_EPSILON, momentum=NORM_MOMENTUM)


def relu() -> nn.ReLU:
    """ReLU in place: it only ever follows a layer whose backward pass does not read its own output."""
    return nn.ReLU(inplace=True)


class PooledShortcut(nn.Module):
    """The shortcut without weights: 2x2 average where `stride` is 2, then channels of zeros."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels = out_channels - in_channels
        self.stride = stride

    def forward(self, maps: Tensor) -> Tensor:
        if self.stride == 2:
            maps = F.avg_pool2d(maps, 2, ceil_mode=True)
        return F.pad(maps, (0, 0, 0, 0, 0, self.new_channels))


def projection(kind: Shortcut, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """A shortcut that changes the shape."""
    if kind == "pool":
        return PooledShortcut(in_channels, out_channels, stride)
    layers: OrderedDict[str, nn.Module] = OrderedDict(conv=conv(in_channels, out_channels, 1, stride))
    if kind == "conv_bn":
        layers["norm"] = norm(out_channels)
    return Chain(layers)


class ResidualBlock(nn.Module):
    """`convs` in the given order around a shortcut: (N, C, H, W) -> (N, K, H/stride, W/stride).

    The shortcut is the identity where `shortcut` is none. Otherwise it is fed by what feeds the first
    convolution: in `pre` order that is the activated input, as in the report's code, while an identity
    always carries the raw input. Dropout acts on single elements, before the last convolution.
    """

    def __init__(
        self, convs: list[nn.Conv2d], shortcut: nn.Module | None, *, order: Order, conv_dropout: float = 0.0
    ) -> None:
        super().__init__()

        def layer(kind: Layer, number: int) -> nn.Module:
            convolution = convs[number - 1]
            if kind == "conv":
                return convolution
            if kind == "norm":
                return norm(convolution.in_channels if order == "pre" else convolution.out_channels)
            return relu() if kind == "relu" else nn.Dropout(conv_dropout)

        def part(steps: tuple[Step, ...]) -> Chain:
            return Chain(OrderedDict((f"{kind}{number}", layer(kind, number)) for kind, number in steps))

        arranged = sequence(order, len(convs), dropout=conv_dropout > 0)
        self.entry = part(arranged.entry)
        self.branch = part(arranged.branch)
        self.shortcut = shortcut
        self.exit = part(arranged.exit)

    def forward(self, maps: Tensor) -> Tensor:
        found = whole(maps, self.entry, self.branch, self.exit, self.shortcut)
        if found is not None:
            return found
        opened, passed = self.entry.beside(maps)
        carried = passed if self.shortcut is None else self.shortcut(opened)
        total: Tensor = self.exit(self.branch(opened, carried))
        return total


def basic_convs(in_channels: int, width: int, stride: int) -> list[nn.Conv2d]:
    """The two 3x3 convolutions of a ToyBlock, which is He et al.'s basic block."""
    return [conv(in_channels, width, 3, stride), conv(width, width, 3)]


def bottleneck_convs(in_channels: int, width: int, stride: int) -> list[nn.Conv2d]:
    """1x1, 3x3, 1x1 to four times the width; the stride is on the first, as in the 2015 paper."""
    return [
        conv(in_channels, width, 1, stride),
        conv(width, width, 3),
        conv(width, width * BOTTLENECK_EXPANSION, 1),
    ]
