"""PureResNet: the report's baseline, ResNet with a stem for small images.

He et al. 2015 (arXiv:1512.03385): post-activation, batch normalisation on projection shortcuts, basic
blocks in 18 and 34 and bottlenecks above, which carry their stride on the first 1x1 convolution.
Deviations, all of them the report's (code): the stem is a 3x3 convolution with bias, normalised but not
rectified, without max-pooling; and the first stack of the bottleneck networks halves the image too.
"""

from collections import OrderedDict

from torch import nn

from toynet.models.architectures import ImageShape, plan
from toynet.models.blocks import norm
from toynet.models.chain import Chain
from toynet.models.headed import HeadedNet
from toynet.models.residual import residual_net
from toynet.models.spec import ModelSpec


def pure_resnet(spec: ModelSpec, *, classes: int, image_shape: ImageShape) -> HeadedNet:
    """The PureResNet that `spec` names, for images of (height, width, channels)."""
    width = plan(spec, image_shape)[0].width
    stem = Chain(OrderedDict(conv=nn.Conv2d(image_shape[2], width, 3, padding=1), norm=norm(width)))
    return residual_net(spec, stem, classes=classes, image_shape=image_shape)
