"""The places in one of our networks that a saved layer may fill."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toynet.models.from_keras.saved import NORM_VARIABLES, Kind, SavedLayer, Shape

_TORCH_NAMES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


@dataclass(frozen=True)
class Slot:
    """A layer of ours with weights, and the shapes that Keras would give its variables."""

    path: str
    kind: Kind
    module: nn.Module
    shapes: Mapping[str, Shape]

    @classmethod
    def of(cls, path: str, module: nn.Module) -> "Slot | None":
        """None for a layer without weights."""
        if isinstance(module, nn.BatchNorm2d):
            return cls(path, "norm", module, dict.fromkeys(NORM_VARIABLES, (module.num_features,)))
        if not isinstance(module, nn.Conv2d | nn.Linear):
            return None
        shapes = {"kernel": tuple(keras_layout(module.weight.detach()).shape)}
        if module.bias is not None:
            shapes["bias"] = tuple(module.bias.shape)
        return cls(path, "conv" if isinstance(module, nn.Conv2d) else "dense", module, shapes)

    def misfit(self, layer: SavedLayer) -> str | None:
        """Why `layer` cannot fill this slot, with both shapes; none where it can."""
        for variable in self.shapes.keys() | layer.shapes.keys():
            ours, theirs = self.shapes.get(variable), layer.shapes.get(variable)
            if ours != theirs:
                return f"{variable} {_told(theirs)}, {self.path} needs {_told(ours)}"
        return None

    def values(self, layer: SavedLayer) -> dict[str, Tensor]:
        """The values of `layer`, which fits, as this slot's module keeps them."""
        return {
            _TORCH_NAMES[variable]: torch.from_numpy(torch_layout(layer.read(variable)))
            for variable in self.shapes
        }

    @torch.no_grad()
    def fill(self, values: Mapping[str, Tensor]) -> None:
        """Take over such values."""
        for name, value in values.items():
            getattr(self.module, name).copy_(value)


def keras_layout(weight: Tensor) -> Tensor:
    """Our kernel (K, C, h, w) or matrix (K, C) as Keras keeps it: (h, w, C, K), (C, K)."""
    return weight.permute(2, 3, 1, 0) if weight.ndim == 4 else weight.T


def torch_layout(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The way back; vectors stay as they are."""
    return np.ascontiguousarray(values.transpose(3, 2, 0, 1) if values.ndim == 4 else values.T)


def _told(shape: Shape | None) -> str:
    return "none" if shape is None else str(shape)
