"""What each named architecture is, in plain numbers: the command line lists and checks it without torch.

ToyNet follows the report (section 2.1), PureResNet its section 3.1 and He et al. 2015 (arXiv:1512.03385).
The report's ToyNet20 is `toynet18`: same blocks, counted differently. It names a ToyNet50 without its
stacks and rules bottlenecks out; ours is 24 two-convolution blocks in the proportions of ResNet-50's 16.
"""

from dataclasses import dataclass
from typing import Literal

from toynet.core.errors import UsageError, did_you_mean
from toynet.models.spec import ModelSpec, Order, Shortcut

Family = Literal["toynet", "pure_resnet"]
ImageShape = tuple[int, int, int]
"""Height, width, channels."""

Layer = Literal["norm", "relu", "conv", "dropout"]
Step = tuple[Layer, int]
"""A layer of a block and the number of the convolution it belongs to, from 1."""

BOTTLENECK_EXPANSION = 4
"""Channels out of a bottleneck for each channel inside it."""


@dataclass(frozen=True)
class Architecture:
    """A family, its blocks per stack, and the values that a `ModelSpec` leaves at none."""

    title: str
    family: Family
    blocks: tuple[int, ...]
    order: Order
    shortcut: Shortcut
    bottleneck: bool = False
    widths: tuple[int, ...] = (64, 128, 256, 512)

    @property
    def first_stride(self) -> int:
        """Stride of the first stack; the report's bottleneck networks halve the image there too (code)."""
        return 2 if self.bottleneck else 1


@dataclass(frozen=True)
class Stack:
    """A row of blocks of one width; only its first block may change the shape."""

    blocks: int
    in_channels: int
    width: int
    out_channels: int
    stride: int
    size: tuple[int, int]
    """Height and width of what comes out."""

    @property
    def projects(self) -> bool:
        """Whether the first block's shortcut has to change the shape."""
        return self.stride != 1 or self.in_channels != self.out_channels


def _toynet(depth: int, *blocks: int) -> Architecture:
    first, second, third, fourth = blocks
    return Architecture(f"ToyNet{depth}", "toynet", (first, second, third, fourth), "pre", "conv")


def _pure_resnet(depth: int, *blocks: int, bottleneck: bool = False) -> Architecture:
    first, second, third, fourth = blocks
    counts = (first, second, third, fourth)
    return Architecture(f"PureResNet{depth}", "pure_resnet", counts, "post", "conv_bn", bottleneck)


ARCHITECTURES: dict[str, Architecture] = {
    "toynet12": _toynet(12, 1, 1, 2, 1),
    "toynet14": _toynet(14, 1, 2, 2, 1),
    "toynet18": _toynet(18, 2, 2, 2, 2),
    "toynet34": _toynet(34, 3, 4, 6, 3),
    "toynet50": _toynet(50, 4, 6, 10, 4),
    "pure_resnet18": _pure_resnet(18, 2, 2, 2, 2),
    "pure_resnet34": _pure_resnet(34, 3, 4, 6, 3),
    "pure_resnet50": _pure_resnet(50, 3, 4, 6, 3, bottleneck=True),
    "pure_resnet101": _pure_resnet(101, 3, 4, 23, 3, bottleneck=True),
    "pure_resnet152": _pure_resnet(152, 3, 8, 36, 3, bottleneck=True),
}


SPEEDNET = "speednet"
"""The one architecture without residual blocks; `speedplan` says what it is."""

NAMES = (*ARCHITECTURES, SPEEDNET)


@dataclass(frozen=True)
class Sequence:
    """The layers of a block in order: before the shortcut may branch off, beside it, after the addition."""

    entry: tuple[Step, ...]
    branch: tuple[Step, ...]
    exit: tuple[Step, ...]


def sequence(order: Order, convs: int, *, dropout: bool) -> Sequence:
    """How a block of `convs` convolutions is arranged; `dropout` goes before the last of them."""
    unit: dict[Order, tuple[Layer, ...]] = {
        "pre": ("norm", "relu", "conv"),
        "post": ("conv", "norm", "relu"),
        "relu_bn": ("conv", "relu", "norm"),
    }
    steps: list[Step] = [(layer, number) for number in range(1, convs + 1) for layer in unit[order]]
    if dropout:
        steps.insert(steps.index(("conv", convs)), ("dropout", convs))
    opening = steps.index(("conv", 1)) if order == "pre" else 0
    closing = len(steps) - (order == "post")
    return Sequence(tuple(steps[:opening]), tuple(steps[opening:closing]), tuple(steps[closing:]))


def architecture(name: str) -> Architecture:
    """The architecture called `name`; an unknown name is a `UsageError` with the nearest one."""
    if name not in ARCHITECTURES:
        raise UsageError(f"model.name: no architecture {name!r}; {did_you_mean(name, NAMES)}")
    return ARCHITECTURES[name]


def resolve(spec: ModelSpec) -> ModelSpec:
    """`spec` with every none replaced by the architecture's own value, and its widths counted."""
    net = architecture(spec.name)
    return spec.model_copy(
        update={
            "widths": counted_widths(spec, net.widths),
            "order": spec.order or net.order,
            "shortcut": spec.shortcut or net.shortcut,
        }
    )


def counted_widths(spec: ModelSpec, usual: tuple[int, ...]) -> tuple[int, ...]:
    """The widths that `spec` asks for, which must be as many as the `usual` ones, or else those."""
    widths = spec.widths or usual
    if len(widths) != len(usual):
        raise UsageError(f"model.widths needs {len(usual)} numbers, got {len(widths)}")
    return widths


def plan(spec: ModelSpec, image_shape: ImageShape) -> tuple[Stack, ...]:
    """The stacks of `spec` for images of (height, width, channels).

    Raises `UsageError` for an unknown name, a wrong number of widths, images that cannot be halved as
    often as the architecture does, and narrowing stacks where shortcuts are pooled.
    """
    net = architecture(spec.name)
    widths = counted_widths(spec, net.widths)
    height, width, _ = image_shape
    shrink = net.first_stride * 2 ** (len(net.blocks) - 1)
    if min(height, width) < shrink:
        raise UsageError(
            f"images of {height}x{width} are too small for {spec.name}, "
            f"which shrinks them {shrink}-fold; the shortest side must be {shrink} or more"
        )
    stacks = []
    channels = widths[0]
    for number, (blocks, inner) in enumerate(zip(net.blocks, widths, strict=True), start=1):
        stride = net.first_stride if number == 1 else 2
        height, width = -(-height // stride), -(-width // stride)
        out = inner * BOTTLENECK_EXPANSION if net.bottleneck else inner
        if spec.shortcut == "pool" and out < channels:
            raise UsageError(
                f"model.shortcut 'pool' cannot remove channels, and stack {number} goes from {channels} "
                f"to {out}; choose 'conv' or let model.widths grow"
            )
        stacks.append(Stack(blocks, channels, inner, out, stride, (height, width)))
        channels = out
    return tuple(stacks)
