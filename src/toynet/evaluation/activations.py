"""What the layers put out on one batch: size, dead channels, values that are not finite.

Temporary hooks sit on `Conv2d`, `BatchNorm2d` and `nn.ReLU`. A model that calls `F.relu`, or an in-place
ReLU, shows its dead units at the batch norm before it, which is why both are watched.
"""

import math

import torch
from torch import Tensor, nn

from toynet.core.records import LayerActivation
from toynet.evaluation.predict import evaluating
from toynet.models.chain import uncompiled


def activation_summary(model: nn.Module, batch: Tensor) -> list[LayerActivation]:
    """One record for each call of a watched layer, in the order of execution.

    `batch` (N, C, H, W) is standardised and on the model's device. The model runs in evaluation mode; its
    hooks, training flags and statistics are as before when this returns or raises.
    """
    found: list[LayerActivation] = []

    def watch(module: nn.Module, name: str) -> torch.utils.hooks.RemovableHandle:
        return module.register_forward_hook(
            lambda _module, _inputs, output: found.append(_describe(name, type(module).__name__, output))
        )

    handles = [
        watch(module, name)
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d | nn.ReLU)
    ]
    try:
        with evaluating(model), uncompiled(model):
            model(batch)
    finally:
        for handle in handles:
            handle.remove()
    return found


def _describe(name: str, kind: str, output: Tensor) -> LayerActivation:
    values = output.float().transpose(0, 1).flatten(1)
    low, high = values.amin(1), values.amax(1)
    dead = high <= 0 if kind == "BatchNorm2d" else (low == 0) & (high == 0)
    return LayerActivation(
        name=name,
        kind=kind,
        rms=float(torch.linalg.vector_norm(values)) / math.sqrt(values.numel()),
        max_abs=float(torch.maximum(high, -low).max()),
        dead_fraction=float(dead.float().mean()),
        finite=bool(torch.isfinite(values).all()),
    )
