"""SpeedNet: as little arithmetic as possible for its accuracy on small images.

    whiten 2x2, GELU -> three groups of [conv, max-pool 2x2, BN, GELU, conv, BN, GELU] -> global max -> dense

After airbench (Keller Jordan 2024, arXiv:2404.00498), and the whitened first layer of Page's and tysam's
speed recipes before it. Deviations: widths are free, batch norm has torch's epsilon, and the head starts
at zero where airbench divides logits by the number of features.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from toynet.models.architectures import ImageShape
from toynet.models.chain import Chain
from toynet.models.headed import HeadedNet
from toynet.models.same import SameConv
from toynet.models.spec import ModelSpec
from toynet.models.speedplan import PATCH, filters, plan

NORM_MOMENTUM = 0.4
"""Weight of the newest batch: a run of a few hundred steps cannot wait for slow averages."""

WHITENING_EPSILON = 5e-4
"""Added to every variance, so that directions in which images hardly vary are not blown up."""


class Whitening(nn.Conv2d):
    """2x2 convolution onto the principal directions of patches and their negatives; only its bias learns.

    (N, C, H, W) -> (N, 8 C, H - 1, W - 1).
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, filters(channels), PATCH)
        self.weight.requires_grad_(False)

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Take the directions from standardised `images` (N, C, H, W), and scale them to unit variance."""
        patches = images.double().unfold(2, PATCH, 1).unfold(3, PATCH, 1)
        rows = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, self.weight[0].numel())
        variances, directions = torch.linalg.eigh(rows.T @ rows / len(rows))
        scaled = (directions / (variances + WHITENING_EPSILON).sqrt()).T.view(-1, *self.weight.shape[1:])
        # An eigenvector's sign is arbitrary and differs between builds: the largest entry shall be positive.
        flat = scaled.flatten(1)
        signs = flat.gather(1, flat.abs().argmax(dim=1, keepdim=True)).sign().view(-1, 1, 1, 1)
        self.weight.copy_(torch.cat([scaled * signs, -scaled * signs]))


class PassingConv(SameConv):
    """3x3 convolution whose first filters pass its input on at the start, one channel each."""

    @torch.no_grad()
    def start(self) -> None:
        """As far as there are filters."""
        nn.init.dirac_(self.weight[: self.in_channels])


class ZeroDense(nn.Linear):
    """Dense layer without bias that starts at zero: no class is preferred."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__(features, classes, bias=False)

    def start(self) -> None:
        """Forget what was drawn."""
        nn.init.zeros_(self.weight)


class GlobalMaxPool(nn.Module):
    """The largest value of every map: (N, C, H, W) -> (N, C)."""

    def forward(self, maps: Tensor) -> Tensor:
        # Not `amax`, which compares again on the way back: what `torch.compile` computes anew in another
        # precision equals the largest value nowhere, and the gradient is 0/0.
        return maps.flatten(2).max(dim=2).values


def speednet(spec: ModelSpec, *, classes: int, image_shape: ImageShape) -> HeadedNet:
    """`whiten`, `group1` to `group3`, `head`, as `spec` asks, for images of (height, width, channels)."""
    groups = plan(spec, image_shape)
    first = OrderedDict(conv=Whitening(image_shape[2]), gelu=nn.GELU())
    parts: OrderedDict[str, nn.Module] = OrderedDict(whiten=nn.Sequential(first))
    for number, inner in enumerate(groups, start=1):
        parts[f"group{number}"] = group(inner.in_channels, inner.width)
    head: OrderedDict[str, nn.Module] = OrderedDict(pool=GlobalMaxPool())
    if spec.dropout:
        head["dropout"] = nn.Dropout(spec.dropout)
    head["dense"] = ZeroDense(groups[-1].width, classes)
    parts["head"] = nn.Sequential(head)
    return HeadedNet(parts)


def group(in_channels: int, width: int) -> Chain:
    """(N, in_channels, H, W) -> (N, width, H/2, W/2), rounded down."""
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=PassingConv(in_channels, width), pool=nn.MaxPool2d(2), norm1=norm(width), gelu1=nn.GELU()
    )
    layers |= OrderedDict(conv2=PassingConv(width, width), norm2=norm(width), gelu2=nn.GELU())
    return Chain(layers)


def norm(width: int) -> nn.BatchNorm2d:
    """Batch norm that scales nothing: the convolution behind it does."""
    layer = nn.BatchNorm2d(width, momentum=NORM_MOMENTUM)
    layer.weight.requires_grad_(False)
    return layer


def whiten(model: nn.Module, images: Tensor) -> None:
    """Fit every whitening layer of `model` to standardised `images` (N, C, H, W); others have none."""
    for layer in model.modules():
        if isinstance(layer, Whitening):
            layer.fit(images)
