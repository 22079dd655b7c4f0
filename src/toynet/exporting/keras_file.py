"""A model as a `.keras` file: the same network in Keras' own layers, for plain Keras on any backend."""

import json
import os
import sys
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toynet.exporting import preprocessing as steps
from toynet.exporting.extras import require
from toynet.exporting.origin import Origin
from toynet.exporting.parity import Logits
from toynet.exporting.records import Preprocessing
from toynet.models.blocks import PooledShortcut, ResidualBlock
from toynet.models.from_keras.slots import keras_layout
from toynet.models.residual import Flatten, GlobalAveragePool
from toynet.models.speednet import GlobalMaxPool

NOTES = "toynet.json"
"""A file more in the archive, which Keras passes over: classes, preprocessing, recipe."""


def write(path: Path, origin: Origin, preprocessing: Preprocessing) -> None:
    """Write the model of `origin` to `path`, which ends in `.keras`.

    Its outputs are `logits` and `probabilities`; its layers carry our names. Raises `ToyNetError` where the
    extra is not installed.
    """
    keras = _keras()
    with _quiet():
        image = keras.Input(origin.card.image_shape, name="images")
        maps = image
        if preprocessing == "inside":
            variance = [deviation**2 for deviation in origin.card.std]
            standard = keras.layers.Normalization(
                mean=list(origin.card.mean), variance=variance, name="scale"
            )
            maps = standard(image)
        logits = _apply(keras, origin.model, "", maps)
        tempered = keras.layers.Rescaling(1 / origin.temperature, name="temperature")(logits)
        chances = keras.layers.Softmax(name="probabilities")(tempered)
        model = keras.Model(
            image, {"logits": logits, "probabilities": chances}, name=origin.recipe.model.name
        )
        for name, part in origin.model.named_modules():
            if weights := _weights(part):
                model.get_layer(_name(name)).set_weights(weights)
        model.save(path)
    notes = steps.table(origin) | {"preprocessing": preprocessing, "recipe": origin.recipe_text}
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(NOTES, json.dumps(notes, indent=2))


def read(path: Path, origin: Origin, preprocessing: Preprocessing) -> Logits:
    """The model at `path`, loaded by Keras, as a function from uint8 images to logits."""
    keras = _keras()
    with _quiet():
        model = keras.saving.load_model(path, compile=False)

    def logits(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        given = images.astype(np.float32)
        if preprocessing == "beside":
            mean, std = np.array(origin.card.mean, np.float32), np.array(origin.card.std, np.float32)
            given = np.asarray((given - mean) / std, np.float32)
        with torch.no_grad(), _quiet():
            found = model(given, training=False)["logits"]
            return np.array(keras.ops.convert_to_numpy(found), np.float32)

    return logits


def _apply(keras: Any, module: nn.Module, prefix: str, maps: Any) -> Any:
    """`maps`, symbolic and channels-last, through the layers of `module`, whose path is `prefix`."""
    for key, part in module.named_children():
        path = f"{prefix}{key}"
        if isinstance(part, ResidualBlock):
            maps = _block(keras, part, path, maps)
        elif isinstance(part, PooledShortcut):
            maps = _pooled(keras, part, path, maps)
        elif any(True for _ in part.children()):
            maps = _apply(keras, part, f"{path}.", maps)
        else:
            maps = _layer(keras, part, _name(path))(maps)
    return maps


def _block(keras: Any, block: ResidualBlock, path: str, maps: Any) -> Any:
    opened = _apply(keras, block.entry, f"{path}.entry.", maps)
    branch = _apply(keras, block.branch, f"{path}.branch.", opened)
    if isinstance(block.shortcut, PooledShortcut):
        carried = _pooled(keras, block.shortcut, f"{path}.shortcut", opened)
    elif block.shortcut is not None:
        carried = _apply(keras, block.shortcut, f"{path}.shortcut.", opened)
    else:
        carried = maps
    total = keras.layers.Add(name=_name(f"{path}.add"))([branch, carried])
    return _apply(keras, block.exit, f"{path}.exit.", total)


def _pooled(keras: Any, shortcut: PooledShortcut, path: str, maps: Any) -> Any:
    """Averaged, then with channels of zeros. Keras pads rows and columns only, so axes change places."""
    layers = keras.layers
    if shortcut.stride == 2:
        maps = layers.AveragePooling2D(2, padding="same", name=_name(f"{path}.pool"))(maps)
    if shortcut.new_channels:
        maps = layers.Permute((1, 3, 2), name=_name(f"{path}.turn"))(maps)
        pad = ((0, 0), (0, shortcut.new_channels))
        maps = layers.ZeroPadding2D(pad, name=_name(f"{path}.pad"))(maps)
        maps = layers.Permute((1, 3, 2), name=_name(f"{path}.back"))(maps)
    return maps


def _layer(keras: Any, part: nn.Module, name: str) -> Any:
    """Keras' layer for one of torch's."""
    layers = keras.layers
    match part:
        case nn.Conv2d():
            padding = "same" if part.kernel_size[0] % 2 else "valid"
            return layers.Conv2D(
                part.out_channels,
                part.kernel_size,
                strides=part.stride,
                padding=padding,
                use_bias=part.bias is not None,
                name=name,
            )
        case nn.BatchNorm2d():
            momentum = 1 - (part.momentum or 0)
            return layers.BatchNormalization(epsilon=part.eps, momentum=momentum, name=name)
        case nn.ReLU():
            return layers.ReLU(name=name)
        case nn.GELU():
            return layers.Activation("gelu", name=name)
        case nn.MaxPool2d():
            return layers.MaxPooling2D(part.kernel_size, name=name)
        case nn.Dropout():
            return layers.Dropout(part.p, name=name)
        case GlobalAveragePool():
            return layers.GlobalAveragePooling2D(name=name)
        case GlobalMaxPool():
            return layers.GlobalMaxPooling2D(name=name)
        case Flatten():
            return layers.Flatten(name=name)
        case nn.Linear():
            return layers.Dense(part.out_features, use_bias=part.bias is not None, name=name)
    raise TypeError(f"no layer of Keras is known for {type(part).__name__}")


def _weights(part: nn.Module) -> list[NDArray[np.float32]]:
    """The arrays of a layer, in Keras' order and layout."""
    tensors: list[Tensor | None] = []
    if isinstance(part, nn.BatchNorm2d):
        tensors = [part.weight, part.bias, part.running_mean, part.running_var]
    elif isinstance(part, nn.Conv2d | nn.Linear):
        tensors = [keras_layout(part.weight), part.bias]
    return [np.asarray(tensor.detach(), np.float32) for tensor in tensors if tensor is not None]


def _name(path: str) -> str:
    """A path as Keras' name of a layer, which may hold no dot."""
    return path.replace(".", "__")


def _keras() -> Any:
    """Keras, on torch where nothing has loaded it on something else yet."""
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "torch"
    (keras,) = require("keras", "keras")
    return keras


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what Keras on torch says about NumPy 2 when it turns tensors into arrays."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation doesn't accept", DeprecationWarning)
        yield
