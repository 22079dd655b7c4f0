"""The two layouts of Keras' HDF5 files, as a list of layers.

    Keras 3   layers/conv2d_1/vars/0, 1, ...   numbered by class in the order of the model's layers; their
              own names are attributes, or are not kept (Keras 3.5 and before)
    legacy    an attribute `layer_names`, for each a group with `weight_names`; below `model_weights` in a
              file of a whole model, whose attribute `model_config` describes it

Values stay in the file until they are asked for, after their shapes have been found to fit. Links to other
files are not followed, and a file that claims to hold far more than it is long is refused.
"""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toynet.core.errors import CheckpointError
from toynet.models.from_keras.saved import NORM_VARIABLES, Kind, SavedLayer

LARGEST_BYTES = 2 << 30
LARGEST_RATIO = 100
"""Trained weights hardly shrink by compression; a hundredfold is no longer a model."""

MOST_NAMES = 100_000

_AUTOMATIC = re.compile(r"(.*?)(?:_(\d+))?$")


def check_size(claimed: int, stored: int, where: object) -> None:
    """Raise `CheckpointError` where `stored` bytes would unfold into too many."""
    if claimed > LARGEST_BYTES or claimed > LARGEST_RATIO * stored + (1 << 20):
        raise CheckpointError(
            f"{where} would unfold from {stored:,} to {claimed:,} bytes; weights do not do that"
        )


def layers(root: Any, size: int, file: Path) -> tuple[SavedLayer, ...]:
    """The layers with weights in an open HDF5 file of `size` bytes, whose path `file` is for errors."""
    found = tuple(_legacy(root, file) if _is_legacy(root) else _numbered(root, file))
    claimed = sum(4 * int(np.prod(shape)) for layer in found for shape in layer.shapes.values())
    check_size(claimed, size, file)
    if not found:
        raise CheckpointError(f"{file} holds no layers of Keras with weights")
    return found


def _is_legacy(root: Any) -> bool:
    group = _child(root, "model_weights") or root
    return "layer_names" in group.attrs or "layer_names0" in group.attrs


def _legacy(root: Any, file: Path) -> Iterator[SavedLayer]:
    group = _child(root, "model_weights") or root
    for layer in _texts(group, "layer_names"):
        inner = _child(group, layer)
        if inner is None:
            raise CheckpointError(f"{file} is damaged: it lacks its layer {layer}")
        parts: dict[str, dict[str, Any]] = {}
        for path in _texts(inner, "weight_names"):
            owner, _, variable = path.removesuffix(":0").rpartition("/")
            dataset = _child(inner, path)
            if dataset is None:
                raise CheckpointError(f"{file} is damaged: it lacks {path} of layer {layer}")
            parts.setdefault(owner, {})[variable] = dataset
        for owner, variables in parts.items():
            # A layer of the user's own holds several of ours.
            name = layer if len(parts) == 1 else owner
            yield from _layer(name, variables, file)


def _numbered(root: Any, file: Path) -> Iterator[SavedLayer]:
    for path, group in _variable_groups(root, ""):
        datasets = [_child(group, key) for key in sorted(group, key=_natural)]
        arrays = [dataset for dataset in datasets if hasattr(dataset, "shape")]
        named = "name" in group.attrs
        name = _text(group.attrs["name"]) if named else path.rpartition("/")[2]
        kinds = {4: ("kernel", "bias"), 2: ("kernel", "bias"), 1: NORM_VARIABLES}
        if arrays and len(names := kinds.get(len(arrays[0].shape), ())) >= len(arrays):
            yield from _layer(name, dict(zip(names, arrays, strict=False)), file, named=named)
        elif any(len(array.shape) > 1 for array in arrays):
            raise CheckpointError(f"{file}: layer {name} is of no kind that our networks have")


def _variable_groups(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every group `vars`, with the path of its owner, in natural order; those of the optimiser left out."""
    for key in sorted(group, key=_natural):
        inner = _child(group, key)
        if not hasattr(inner, "keys") or (not path and key.startswith(("optimizer", "compile", "metric"))):
            continue
        if key == "vars":
            yield path, inner
        else:
            yield from _variable_groups(inner, f"{path}/{key}")


def _layer(
    name: str, variables: Mapping[str, Any], file: Path, *, named: bool = True
) -> Iterator[SavedLayer]:
    kind = _kind({key: dataset.shape for key, dataset in variables.items()})
    if kind is not None:
        for key, dataset in variables.items():
            _check_dataset(dataset, f"{file}: {name}/{key}")
        shapes = {key: tuple(dataset.shape) for key, dataset in variables.items()}
        yield SavedLayer(name, kind, shapes, partial(_read, variables, name, file), named)
    elif any(len(dataset.shape) > 1 for dataset in variables.values()):
        shapes_told = ", ".join(f"{key} {dataset.shape}" for key, dataset in variables.items())
        raise CheckpointError(f"{file}: layer {name} ({shapes_told}) is of no kind that our networks have")


def _kind(shapes: Mapping[str, tuple[int, ...]]) -> Kind | None:
    """Of a layer whose variables have these shapes; none where it is no layer of ours."""
    if shapes.keys() <= {"kernel", "bias"} and "kernel" in shapes:
        return {4: "conv", 2: "dense"}.get(len(shapes["kernel"]))  # type: ignore[return-value]
    return "norm" if {"moving_mean", "moving_variance"} <= shapes.keys() else None


def _check_dataset(dataset: Any, where: str) -> None:
    if dataset.dtype.kind != "f":
        raise CheckpointError(f"{where} is {dataset.dtype}; weights are floating-point numbers")
    if dataset.external or dataset.is_virtual:
        raise CheckpointError(f"{where} points to another file; save the weights into one")


def _read(variables: Mapping[str, Any], name: str, file: Path, variable: str) -> NDArray[np.float32]:
    try:
        values = np.asarray(variables[variable][()], np.float32)
    except (OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{file} is damaged: {name}/{variable} cannot be read") from error
    if not np.isfinite(values).all():
        raise CheckpointError(f"{file}: {name}/{variable} has values that are not finite")
    return values


def _child(group: Any, path: str) -> Any:
    """What lies at `path` in this very file; none where there is nothing, or a link to elsewhere."""
    import h5py

    at = group
    for key in filter(None, path.split("/")):
        if not hasattr(at, "keys") or not isinstance(at.get(key, getlink=True), h5py.HardLink):
            return None
        at = at.get(key)
    return at


def _texts(group: Any, attribute: str) -> list[str]:
    """A list of texts, which Keras divides over several attributes where it is long."""
    if attribute in group.attrs:
        if np.prod(group.attrs.get_id(attribute).shape) > MOST_NAMES:
            raise ValueError(f"{attribute} claims more names than a model has layers")
        return [_text(entry) for entry in group.attrs[attribute]]
    parts = takewhile(group.attrs.__contains__, (f"{attribute}{number}" for number in count()))
    return [entry for part in parts for entry in _texts(group, part)]


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _natural(key: str) -> tuple[str, int]:
    """`conv2d` before `conv2d_2` before `conv2d_10`, `2` before `10`."""
    if key.isdecimal():
        return "", int(key)
    base, number = _AUTOMATIC.fullmatch(key).groups()  # type: ignore[union-attr]
    return base, int(number or 0)
