"""What SpeedNet is, in plain numbers: listed, checked and drawn without torch.

After Keller Jordan's airbench (2024, arXiv:2404.00498): a whitening 2x2 convolution, three groups that
pool, a pooled head. See `speednet` for the layers.
"""

from dataclasses import dataclass

from toynet.core.errors import UsageError
from toynet.models.architectures import SPEEDNET, ImageShape, counted_widths
from toynet.models.spec import ModelSpec

TITLE = "SpeedNet"
WIDTHS = (64, 256, 256)
PATCH = 2
"""Side of the patches that the first layer whitens."""

_NOT_ITS_OWN = ("order", "shortcut", "conv_dropout")


@dataclass(frozen=True)
class Group:
    """Two convolutions of one width; the first is followed by 2x2 max-pooling."""

    in_channels: int
    width: int
    size: tuple[int, int]
    """Height and width of what comes out."""


def resolve(spec: ModelSpec) -> ModelSpec:
    """`spec` with its widths filled in. Raises `UsageError` for a knob that SpeedNet does not have."""
    for knob in _NOT_ITS_OWN:
        if getattr(spec, knob):
            raise UsageError(f"model.{knob}: {SPEEDNET} has none; leave it out")
    if spec.head != "gap":
        raise UsageError(f"model.head: {SPEEDNET} always ends in global max-pooling; leave it out")
    return spec.model_copy(update={"widths": counted_widths(spec, WIDTHS)})


def filters(channels: int) -> int:
    """Outputs of the whitening layer: every principal direction of its patches, and its negative."""
    return 2 * channels * PATCH**2


def plan(spec: ModelSpec, image_shape: ImageShape) -> tuple[Group, ...]:
    """The groups of `spec` for images of (height, width, channels); `UsageError` where there can be none."""
    widths = counted_widths(resolve(spec), WIDTHS)
    height, width, channels = image_shape
    least = 2 ** len(widths) + PATCH - 1
    if min(height, width) < least:
        raise UsageError(
            f"images of {height}x{width} are too small for {SPEEDNET}; "
            f"the shortest side must be {least} or more"
        )
    height, width = height - PATCH + 1, width - PATCH + 1
    groups = []
    before = filters(channels)
    for inner in widths:
        height, width = height // 2, width // 2
        groups.append(Group(before, inner, (height, width)))
        before = inner
    return tuple(groups)
