"""What ToyNet and PureResNet have in common: stacks of residual blocks, and the head upon them."""

from collections import OrderedDict

from torch import Tensor, nn

from toynet.models.architectures import Architecture, ImageShape, Stack, architecture, plan
from toynet.models.blocks import ResidualBlock, basic_convs, bottleneck_convs, norm, projection, relu
from toynet.models.chain import Chain
from toynet.models.headed import HeadedNet
from toynet.models.spec import Head, ModelSpec


def residual_net(spec: ModelSpec, stem: nn.Module, *, classes: int, image_shape: ImageShape) -> HeadedNet:
    """`stem`, which must give maps of the first width, under the stacks and the head that `spec` asks for."""
    net = architecture(spec.name)
    stacks = plan(spec, image_shape)
    parts: OrderedDict[str, nn.Module] = OrderedDict(stem=stem)
    for number, stack in enumerate(stacks, start=1):
        parts[f"stack{number}"] = nn.Sequential(
            OrderedDict(
                (f"block{index}", block(spec, net, stack, first=index == 1))
                for index in range(1, stack.blocks + 1)
            )
        )
    last = stacks[-1]
    if (spec.order or net.order) == "pre":
        parts["final"] = Chain(OrderedDict(norm=norm(last.out_channels), relu=relu()))
    parts["head"] = head(spec.head, last.out_channels, last.size, classes, spec.dropout)
    return HeadedNet(parts)


def block(spec: ModelSpec, net: Architecture, stack: Stack, *, first: bool) -> ResidualBlock:
    """A block of `stack`; only its `first` one changes the shape."""
    in_channels = stack.in_channels if first else stack.out_channels
    stride = stack.stride if first else 1
    shortcut = None
    if first and stack.projects:
        shortcut = projection(spec.shortcut or net.shortcut, in_channels, stack.out_channels, stride)
    convs = bottleneck_convs if net.bottleneck else basic_convs
    return ResidualBlock(
        convs(in_channels, stack.width, stride),
        shortcut,
        order=spec.order or net.order,
        conv_dropout=spec.conv_dropout,
    )


class GlobalAveragePool(nn.Module):
    """The mean of every map: (N, C, H, W) -> (N, C)."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean(dim=(2, 3))


class Flatten(nn.Module):
    """Every value in Keras' order, row by column by channel: (N, C, H, W) -> (N, H W C).

    On channels_last maps that is a view, and a Keras dense layer's weights fit as they are.
    """

    def forward(self, maps: Tensor) -> Tensor:
        return maps.permute(0, 2, 3, 1).flatten(1)


def head(kind: Head, channels: int, size: tuple[int, int], classes: int, dropout: float) -> nn.Sequential:
    """From maps of `channels` and `size` (height, width) to logits (N, classes)."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["pool"] = GlobalAveragePool() if kind == "gap" else Flatten()
    if dropout:
        layers["dropout"] = nn.Dropout(dropout)
    features = channels if kind == "gap" else channels * size[0] * size[1]
    layers["dense"] = nn.Linear(features, classes)
    return nn.Sequential(layers)
