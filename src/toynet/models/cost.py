"""What a model costs: parameters and multiply-accumulates, layer by layer, for one image.

Parameters are counted as Keras does: the total includes the moving statistics of batch normalisation.
MACs count convolutions and dense layers; everything else is below 1 % of them. One MAC is two FLOPs,
and a training step costs about three forward passes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.hooks import RemovableHandle

from toynet.models.architectures import ImageShape
from toynet.models.chain import uncompiled

MOST_PIXELS = 224 * 224
"""Of an image that a model is shown in earnest. Shapes alone, on torch's device `meta`, cost two seconds of
imports, the arithmetic of larger images more."""

FLOP_PER_MAC, PASSES = 2, 3
"""A training step costs three forward passes: by the maps and by the weights, backward costs one each."""

KINDS = {
    "BatchNorm2d": "batch norm",
    "Linear": "dense",
    "MaxPool2d": "max pool 2x2",
    "GlobalAveragePool": "global average pool",
    "GlobalMaxPool": "global max pool",
    "PooledShortcut": "average pool, zero channels",
    "Flatten": "flatten",
}


@dataclass(frozen=True)
class LayerCost:
    """A layer that holds parameters or changes the shape of what passes through it."""

    path: str
    """Where it sits in the model, as in the names of its parameters."""

    kind: str
    """For people: `conv 3x3 /2`, `batch norm`, `dense`."""

    output_shape: tuple[int, ...]
    """(C, H, W) or (features,)."""

    parameters: int
    trainable: int
    macs: int


@dataclass(frozen=True)
class ModelCost:
    """All layers in the order in which an image meets them, and their sums."""

    layers: tuple[LayerCost, ...]
    parameters: int
    trainable: int
    macs: int


def cost(model: nn.Module, image_shape: ImageShape) -> ModelCost:
    """Show `model` one image of (height, width, channels), and look at what its layers make of it.

    The model is left as it was found: same weights, same mode, no hooks.
    """
    layers: list[LayerCost] = []

    def listen(path: str, layer: nn.Module) -> RemovableHandle:
        parameters, trainable = count(layer)

        def record(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if parameters or inputs[0].shape != output.shape:
                shape = tuple(output.shape[1:])
                layers.append(
                    LayerCost(path, kind(layer), shape, parameters, trainable, _macs(layer, output))
                )

        return layer.register_forward_hook(record)

    height, width, channels = image_shape
    first = next(model.parameters())
    where = first.device if height * width <= MOST_PIXELS else torch.device("meta")
    weights = {name: tensor.detach().to(where) for name, tensor in model.state_dict().items()}
    image = first.new_zeros(1, channels, height, width, device=where)
    modes = {layer: layer.training for layer in model.modules()}
    handles = [listen(path, layer) for path, layer in model.named_modules() if not list(layer.children())]
    try:
        model.eval()
        with torch.no_grad(), uncompiled(model):
            functional_call(model, weights, image)
    finally:
        for handle in handles:
            handle.remove()
        for layer, training in modes.items():
            layer.training = training
    parameters, trainable = count(model)
    return ModelCost(tuple(layers), parameters, trainable, sum(layer.macs for layer in layers))


def count(model: nn.Module) -> tuple[int, int]:
    """Numbers stored by `model`, in Keras' sense: (total with moving statistics, trainable)."""
    trainable = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    frozen = sum(weight.numel() for weight in model.parameters() if not weight.requires_grad)
    statistics = sum(buffer.numel() for buffer in model.buffers() if buffer.is_floating_point())
    return trainable + frozen + statistics, trainable


def kind(layer: nn.Module) -> str:
    """A layer's kind in a few words."""
    if isinstance(layer, nn.Conv2d):
        (height, width), stride = layer.kernel_size, layer.stride[0]
        return f"conv {height}x{width}" + (f" /{stride}" if stride > 1 else "")
    name = type(layer).__name__
    return KINDS.get(name, name)


def _macs(layer: nn.Module, output: Tensor) -> int:
    """Each output of a convolution or dense layer sums as many products as its kernel has weights."""
    if isinstance(layer, nn.Conv2d | nn.Linear):
        return output[0].numel() * layer.weight[0].numel()
    return 0
