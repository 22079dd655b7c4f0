"""Weights that Keras saved, into one of our networks."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from toynet.core.errors import CheckpointError
from toynet.models.from_keras.archive import open_saved
from toynet.models.from_keras.description import Unreadable, graph, standardising_layers
from toynet.models.from_keras.order import Pairs, match_by_name, match_by_order
from toynet.models.from_keras.saved import SavedLayer, SavedModel
from toynet.models.from_keras.walk import Walk


def load_keras(model: nn.Module, file: Path, name: str) -> list[str]:
    """Give `model`, `name` in errors, the weights in `file` (`.h5`, `.weights.h5`, `.keras`), in place.

    Layers are told apart by the description of the model in the file, else by our own names, else by order
    and shape. Returns what is worth a line. Raises `CheckpointError` naming the file, and the layer and both
    shapes where something does not fit; the model is then as it was.
    """
    with open_saved(file) as saved:
        pairs = _match(saved, model, name)
        for slot, layer in pairs:
            if problem := slot.misfit(layer):
                raise CheckpointError(f"{file} does not fit {name}: layer {layer.name} has {problem}")
        # All of them are read before any is taken over.
        values = [slot.values(layer) for slot, layer in pairs]
        for (slot, _), tensors in zip(pairs, values, strict=True):
            slot.fill(tensors)
        return [
            f"{file.name} scales images in its layer {layer}; the data set's own mean and deviation are used"
            for layer in standardising_layers(saved.config)
        ]


def _match(saved: SavedModel, model: nn.Module, name: str) -> Pairs:
    try:
        source = graph(saved.config) if saved.config else None
    except Unreadable:
        source = None
    if source is None:
        return match_by_name(saved, model) or match_by_order(saved, model, name)
    layers = _by_name(saved)
    pairs = []
    for slot, node in Walk(model, name, saved.file).through(source):
        if node.layer not in layers:
            raise CheckpointError(f"{saved.file} is damaged: it has no weights of its layer {node.layer}")
        pairs.append((slot, layers[node.layer]))
    return pairs


def _by_name(saved: SavedModel) -> Mapping[str, SavedLayer]:
    """The saved layers by the names in the description."""
    described: Any = saved.config
    if all(layer.named for layer in saved.layers):
        return {layer.name: layer for layer in saved.layers}
    # Before it kept names, Keras 3 numbered layers by class, in the order of the description.
    kinds = {"Conv2D": "conv", "BatchNormalization": "norm", "Dense": "dense"}
    queues = {kind: iter([layer for layer in saved.layers if layer.kind == kind]) for kind in kinds.values()}
    return {
        entry["config"]["name"]: layer
        for entry in described["config"]["layers"]
        if entry["class_name"] in kinds and (layer := next(queues[kinds[entry["class_name"]]], None))
    }
