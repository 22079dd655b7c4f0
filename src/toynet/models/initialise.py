"""First weights, drawn as Keras draws the report's: Glorot-uniform convolutions, He-normal dense layers.

Glorot and Bengio 2010; He et al. 2015 (arXiv:1502.01852). A layer may change its own afterwards, in a
method `start`. Every parameter has a random stream of its own,
named after it, so adding, removing or resizing one layer never moves another layer's first weights.
"""

import math
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from toynet.core.seeds import derive

TRUNCATED_STD = 0.87962566103423978
"""Standard deviation of a unit normal cut off at 2."""


@runtime_checkable
class Starting(Protocol):
    """A layer that changes the first weights that it was given."""

    def start(self) -> None: ...


def initialise(model: nn.Module, seed: int) -> None:
    """Set every parameter and moving statistic of `model` in place, as a function of `seed` and its names.

    Raises `TypeError` for a layer with weights of its own that it does not know.
    """
    for path, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d):
            glorot_uniform(layer.weight, _generator(seed, f"{path}.weight"))
        elif isinstance(layer, nn.Linear):
            he_normal(layer.weight, _generator(seed, f"{path}.weight"))
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
            layer.reset_running_stats()
        elif next(layer.parameters(recurse=False), None) is not None:
            raise TypeError(f"no first weights known for {path} ({type(layer).__name__})")
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        if isinstance(layer, Starting):
            layer.start()


def glorot_uniform(weight: Tensor, generator: torch.Generator) -> None:
    """Fill a (K, C, h, w) kernel with U(-a, a), a = sqrt(6 / ((C + K) h w))."""
    area = weight[0, 0].numel()
    limit = math.sqrt(6 / ((weight.shape[0] + weight.shape[1]) * area))
    nn.init.uniform_(weight, -limit, limit, generator=generator)


def he_normal(weight: Tensor, generator: torch.Generator) -> None:
    """Fill a (K, C) matrix with a normal cut at two deviations, so scaled that its std is sqrt(2 / C)."""
    std = math.sqrt(2 / weight.shape[1]) / TRUNCATED_STD
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std, generator=generator)


def _generator(seed: int, parameter: str) -> torch.Generator:
    return torch.Generator().manual_seed(derive(seed, "init", parameter))
