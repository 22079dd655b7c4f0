"""Layers one after another, which may pass through compiled functions two at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeGuard

import torch
from torch import Tensor, nn

from toynet.kernels import maps as compiled
from toynet.models.same import SameConv, plus, takes


class Chain(nn.Sequential):
    """`nn.Sequential` that takes batch norm with the activation behind it, and 2x2 max-pooling, in one go.

    It does so once `use_compiled` switched it on, for maps that compiled functions take, in training and in
    inference. Results differ by rounding only, but hooks on the layers are passed over.
    """

    compiled = False

    def forward(self, input: Tensor, addend: Tensor | None = None) -> Tensor:
        """The chain's result, plus `addend`, if any, which a compiled convolution at the end adds itself."""
        layers = list(self)
        while layers:
            layer = layers.pop(0)
            if self.compiled and _is_pool(layer) and compiled.takes(input):
                input = compiled.max_pool(input)
            elif self._can_norm(layer, input):
                input = compiled.norm_act(input, layer, _pop_activation(layers))
            elif not layers and isinstance(layer, SameConv) and self.compiled and takes(input):
                input, addend = layer(input, addend), None
            else:
                input = layer(input)
        return plus(input, addend)

    def beside(self, input: Tensor) -> tuple[Tensor, Tensor]:
        """The chain's result, and `input` itself to be carried past it, as a residual block does."""
        first, *layers = list(self) or [nn.Identity()]
        if self._can_norm(first, input):
            activation = _pop_activation(layers)
            if not layers:
                return compiled.norm_act_beside(input, first, activation)
        return self(input), input

    def _can_norm(self, layer: nn.Module, maps: Tensor) -> TypeGuard[nn.BatchNorm2d]:
        """Whether `layer` is a batch norm for a compiled function: in evaluation not one to learn through."""
        # Not of a kind of it, such as one that looks at more than these maps.
        if not (self.compiled and type(layer) is nn.BatchNorm2d and compiled.takes(maps)):
            return False
        if layer.num_features != maps.shape[1]:
            return False
        if layer.training or not torch.is_grad_enabled():
            return True
        return not (maps.requires_grad or any(weight.requires_grad for weight in layer.parameters()))


def use_compiled(model: nn.Module, wanted: bool) -> None:
    """Let all of `model` use compiled functions, or not; without effect where they cannot be had."""
    for part in model.modules():
        if isinstance(part, Chain | SameConv):
            part.compiled = wanted


@contextmanager
def uncompiled(model: nn.Module) -> Iterator[None]:
    """All of `model` by torch's own layers, whose hooks are called, and then as before."""
    parts = [part for part in model.modules() if isinstance(part, Chain | SameConv)]
    before = [part.compiled for part in parts]
    use_compiled(model, False)
    try:
        yield
    finally:
        for part, wanted in zip(parts, before, strict=True):
            part.compiled = wanted


def _pop_activation(layers: list[nn.Module]) -> compiled.Activation:
    """Take the activation off the front of `layers`, if that is one that a compiled function knows."""
    activation = activation_of(layers[0]) if layers else None
    if activation is None:
        return "none"
    layers.pop(0)
    return activation


def activation_of(layer: nn.Module) -> compiled.Activation | None:
    """What a compiled function calls `layer`; none where it does not know it."""
    match layer:
        case nn.ReLU():
            return "relu"
        case nn.GELU(approximate="none"):
            return "gelu"
    return None


def _is_pool(layer: nn.Module) -> bool:
    return isinstance(layer, nn.MaxPool2d) and layer.kernel_size == 2 and layer.stride == 2
