"""A file of Keras, opened by its content: HDF5 (`.h5`, `.weights.h5`) or a `.keras` archive."""

import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from toynet.core.errors import CheckpointError, ToyNetError
from toynet.models.from_keras import hdf5
from toynet.models.from_keras.saved import SavedModel

LARGEST_CONFIG_BYTES = 16 << 20
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_WEIGHTS, _CONFIG = "model.weights.h5", "config.json"


@contextmanager
def open_saved(file: Path) -> Iterator[SavedModel]:
    """The model in `file`, whose arrays can be read while it is open.

    Raises `CheckpointError` naming the file where it is no whole file of Keras, `ToyNetError` where h5py is
    not installed.
    """
    try:
        with file.open("rb") as opened:
            start = opened.read(8)
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read ({error.strerror})") from error
    if not start:
        raise CheckpointError(f"{file} is empty")
    if start == _HDF5:
        with _opened(file, file) as root:
            yield _model(root, file.stat().st_size, file)
    elif start.startswith(_ZIP):
        config, weights = _unpack(file)
        with _opened(io.BytesIO(weights), file) as root:
            yield replace(_model(root, len(weights), file), config=config)
    else:
        raise CheckpointError(f"{file} is neither HDF5 (.h5) nor a .keras file; save the weights with Keras")


@contextmanager
def _opened(source: Path | io.BytesIO, file: Path) -> Iterator[Any]:
    try:
        import h5py
    except ImportError:
        raise ToyNetError(
            "weights of Keras are read with h5py, which is not installed: pip install 'toynet-lab[keras]'"
        ) from None
    try:
        root = h5py.File(source, "r")
    except OSError as error:
        raise CheckpointError(f"{file} is damaged: it is no whole HDF5 file") from error
    with root:
        yield root


def _model(root: Any, size: int, file: Path) -> SavedModel:
    try:
        config = root.attrs.get("model_config")
        told = None if config is None else json_of(config, file)
        return SavedModel(file, hdf5.layers(root, size, file), told)
    except ToyNetError:
        raise
    except Exception as error:  # a damaged file can fail in any way
        raise CheckpointError(f"{file} is damaged: its layers cannot be read") from error


def _unpack(file: Path) -> tuple[Any, bytes]:
    """The description and the weights in a `.keras` archive, both of bounded size."""
    try:
        with zipfile.ZipFile(file) as archive:
            sizes = {entry.filename: entry for entry in archive.infolist()}
            if not {_WEIGHTS, _CONFIG} <= sizes.keys():
                raise CheckpointError(f"{file} is no .keras file: it lacks {_WEIGHTS} or {_CONFIG}")
            for name in (_CONFIG, _WEIGHTS):
                entry = sizes[name]
                hdf5.check_size(entry.file_size, entry.compress_size, f"{file}: {name}")
            if sizes[_CONFIG].file_size > LARGEST_CONFIG_BYTES:
                raise CheckpointError(f"{file}: its {_CONFIG} is larger than any description of a model")
            return json_of(archive.read(_CONFIG), file), archive.read(_WEIGHTS)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise CheckpointError(f"{file} is damaged: it is no whole .keras file") from error


def json_of(text: Any, file: Path) -> Any:
    """Keras' description of a model; `CheckpointError` where it is none."""
    try:
        found = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{file} is damaged: its description of the model is no JSON") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{file} is damaged: its description of the model is no table")
    return found
