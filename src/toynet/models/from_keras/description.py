"""Keras' description of a model as a graph of the layers that compute something in evaluation.

Read from `config.json` or `model_config`, in the form of Keras 2 and of Keras 3. An activation inside a
layer becomes a node of its own; dropout, augmentation and the like are passed through.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

_KINDS = {
    "Conv2D": "conv",
    "BatchNormalization": "norm",
    "Dense": "dense",
    "ReLU": "relu",
    "Add": "add",
    "GlobalAveragePooling2D": "mean",
    "GlobalMaxPooling2D": "maximum",
    "Flatten": "flatten",
    "MaxPooling2D": "max-pool",
    "AveragePooling2D": "average-pool",
    "ZeroPadding2D": "pad",
    "Permute": "permute",
    "Softmax": "softmax",
}
_STANDARDISING = {"Normalization", "Rescaling"}
_PASSIVE = {
    *_STANDARDISING,
    "InputLayer",
    "Dropout",
    "SpatialDropout2D",
    "GaussianNoise",
    "ActivityRegularization",
    "Identity",
    "RandomFlip",
    "RandomRotation",
    "RandomTranslation",
    "RandomZoom",
    "RandomCrop",
}


@dataclass
class Node:
    """One step of the network: what it does, the Keras layer it comes from, and the nodes that read it."""

    kind: str
    layer: str
    settings: Mapping[str, Any]
    readers: list["Node"] = field(default_factory=list)


class Unreadable(Exception):
    """The description has layers that only its author's code knows."""


def graph(config: Mapping[str, Any]) -> Node:
    """The node of the input images, from which all others can be reached.

    Raises `Unreadable` for a model that is no plain graph of Keras' own layers.
    """
    try:
        return _graph(config)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise Unreadable(str(error)) from error


def standardising_layers(config: Mapping[str, Any] | None) -> list[str]:
    """The names of layers that scale the images: what stands behind a convolution scales something else."""
    try:
        layers = takewhile(lambda one: one["class_name"] != "Conv2D", (config or {})["config"]["layers"])
        return [str(layer["config"]["name"]) for layer in layers if layer["class_name"] in _STANDARDISING]
    except (KeyError, TypeError):
        return []


def _graph(config: Mapping[str, Any]) -> Node:
    if config["class_name"] not in ("Functional", "Model", "Sequential"):
        raise Unreadable(config["class_name"])
    source = Node("input", "input", {})
    made: dict[str, Node] = {}
    newest = source
    sequential = config["class_name"] == "Sequential"
    for layer in config["config"]["layers"]:
        settings = layer["config"]
        name = layer.get("name", settings["name"])
        if sequential:
            inputs = [newest]
        else:
            inputs = [made[before] for before in _inbound(layer["inbound_nodes"])] or [source]
        made[name] = newest = _node(layer["class_name"], name, settings, inputs)
    return source


def _node(kind: str, name: str, settings: Mapping[str, Any], inputs: list[Node]) -> Node:
    """The node that others read as layer `name`, linked to its `inputs`."""
    if kind in _PASSIVE or (kind == "Activation" and settings["activation"] == "linear"):
        (only,) = inputs
        return only
    if kind == "Activation":
        node = Node(_function(settings["activation"]), name, settings)
    elif kind == "ReLU" and not _is_plain(settings):
        node = Node("relu with a slope, a threshold or a limit", name, settings)
    elif kind in _KINDS:
        node = Node(_KINDS[kind], name, settings)
    else:
        raise Unreadable(kind)
    for one in inputs:
        one.readers.append(node)
    activation = settings.get("activation", "linear") if kind != "Activation" else "linear"
    if activation in ("linear", None):
        return node
    after = Node(_function(activation), name, settings)
    node.readers.append(after)
    return after


def _is_plain(relu: Mapping[str, Any]) -> bool:
    return relu.get("max_value") is None and not relu.get("negative_slope") and not relu.get("threshold")


def _function(activation: Any) -> str:
    """The name of an activation, which Keras 3 may write as a table."""
    if isinstance(activation, str):
        return activation
    return str(activation["config"] if isinstance(activation["config"], str) else activation["class_name"])


def _inbound(nodes: Any) -> list[str]:
    """The layers that feed a layer. It must be used once, or its weights would be shared."""
    if not nodes:
        return []
    (node,) = nodes
    return list(_history(node["args"])) if isinstance(node, dict) else [entry[0] for entry in node]


def _history(value: Any) -> Iterator[str]:
    """The layers named in the arguments of a call, as Keras 3 writes them."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        yield value["config"]["keras_history"][0]
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _history(inner)
