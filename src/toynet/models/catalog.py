"""From a `ModelSpec` to a model. Listing names and checking a spec need no torch; only `build` loads it."""

from typing import TYPE_CHECKING

from toynet.core.errors import UsageError
from toynet.models import architectures, speedplan
from toynet.models.architectures import NAMES, SPEEDNET, ImageShape, architecture
from toynet.models.spec import ModelSpec

if TYPE_CHECKING:
    from torch import nn

__all__ = ["build", "check", "names", "resolve"]


def names() -> tuple[str, ...]:
    """Every architecture that `ModelSpec.name` may ask for."""
    return NAMES


def resolve(spec: ModelSpec) -> ModelSpec:
    """`spec` with every none replaced by the architecture's own value; `UsageError` for what it lacks."""
    return speedplan.resolve(spec) if spec.name == SPEEDNET else architectures.resolve(spec)


def check(spec: ModelSpec, *, classes: int, image_shape: ImageShape) -> None:
    """Raise the `UsageError` that `build` would raise."""
    plan = speedplan.plan if spec.name == SPEEDNET else architectures.plan
    plan(spec, image_shape)
    if image_shape[2] < 1:
        raise UsageError(f"images need at least one channel, got {image_shape[2]}")
    if classes < 2:
        raise UsageError(f"a classifier needs at least two classes, got {classes}")


def build(spec: ModelSpec, *, classes: int, image_shape: ImageShape, seed: int) -> "nn.Module":
    """The model of `spec`, on the CPU, in training mode and channels_last, with first weights from `seed`.

    Takes images (N, C, H, W) of `image_shape` = (H, W, C) and gives logits (N, `classes`). The global
    random state is neither read nor moved. Raises `UsageError` for a request that cannot be built.
    """
    check(spec, classes=classes, image_shape=image_shape)

    import torch
    from torch.nn.utils import convert_conv2d_weight_memory_format

    from toynet.models.initialise import initialise
    from toynet.models.resnet import pure_resnet
    from toynet.models.speednet import speednet
    from toynet.models.toynet import toynet

    builders = {"toynet": toynet, "pure_resnet": pure_resnet, "speednet": speednet}
    family = "speednet" if spec.name == SPEEDNET else architecture(spec.name).family
    # Built without storage, so that torch's own first weights are not drawn only to be overwritten.
    with torch.device("meta"):
        model = builders[family](spec, classes=classes, image_shape=image_shape)
    empty = {name: torch.empty(like.shape, dtype=like.dtype) for name, like in model.state_dict().items()}
    model.load_state_dict(empty, assign=True)  # `to_empty` imports sympy, a third of a second
    convert_conv2d_weight_memory_format(model, torch.channels_last)
    initialise(model, seed)
    return model
