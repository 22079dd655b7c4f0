"""ToyNet: a stem, four stacks of two-convolution residual blocks, a pooled head.

The report, section 2.1, and its public source: pre-activation blocks, a 3x3 stem as wide as the first
stack, and a bare 1x1 convolution on the shortcut of each stack that halves the image. The other orders
normalise behind the stem instead of before the head.
"""

from collections import OrderedDict

from torch import nn

from toynet.models.architectures import ImageShape, architecture, plan
from toynet.models.blocks import conv, norm, relu
from toynet.models.chain import Chain
from toynet.models.headed import HeadedNet
from toynet.models.residual import residual_net
from toynet.models.spec import ModelSpec


def toynet(spec: ModelSpec, *, classes: int, image_shape: ImageShape) -> HeadedNet:
    """The ToyNet that `spec` names, for images of (height, width, channels)."""
    order = spec.order or architecture(spec.name).order
    width = plan(spec, image_shape)[0].width
    stem: OrderedDict[str, nn.Module] = OrderedDict(conv=conv(image_shape[2], width, 3))
    if order == "post":
        stem |= {"norm": norm(width), "relu": relu()}
    if order == "relu_bn":
        stem |= {"relu": relu(), "norm": norm(width)}
    return residual_net(spec, Chain(stem), classes=classes, image_shape=image_shape)
