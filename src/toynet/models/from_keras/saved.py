"""What a file of Keras holds: layers with their arrays, and the model's graph where it is told."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["conv", "norm", "dense"]
Shape = tuple[int, ...]

KINDS: dict[Kind, str] = {"conv": "convolution", "norm": "batch normalisation", "dense": "dense layer"}
"""In words, for errors."""

NORM_VARIABLES = ("gamma", "beta", "moving_mean", "moving_variance")


@dataclass(frozen=True)
class SavedLayer:
    """A layer with weights. `shapes` are Keras' own by variable; `read` fetches a variable's values."""

    name: str
    """The layer's own where it is `named`, else its place among those of its class."""

    kind: Kind
    shapes: Mapping[str, Shape]
    read: Callable[[str], NDArray[np.float32]]
    named: bool = True


@dataclass(frozen=True)
class SavedModel:
    """The layers of `file` in its order, and Keras' description of the model where the file has one."""

    file: Path
    layers: tuple[SavedLayer, ...]
    config: Mapping[str, Any] | None
