"""CIFAR-10's Python batches, read without running what a pickle may ask for.

A pickle is a program: it may call anything that it can import. Here it can import four names, those that a
pickled uint8 array is made of, and gets stand-ins for them that hold bytes and call nothing, not even NumPy.
Pickles of Python 2 (the official ones) and of Python 3 up to protocol 4 are read.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toynet.core.errors import DataError

LARGEST_BYTES = 64 << 20
"""An official batch has 31 MB."""


def read_pickle(path: Path) -> dict[str, Any]:
    """The dictionary in `path`, keys as text, uint8 arrays as arrays; raises `DataError` naming the file."""
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise DataError(f"{path} is larger than any batch of CIFAR-10")
        with path.open("rb") as file:
            content = _Reader(file, encoding="bytes").load()
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except Exception as error:  # hostile bytes can make the unpickler fail in any way
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path} is not a batch of CIFAR-10: {reason}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is not a batch of CIFAR-10: it holds no dictionary")
    return {_text(key): _plain(value) for key, value in content.items()}


class _Array:
    """Stands in for `numpy.ndarray` and for the function that remakes one."""

    def __init__(self, *_: object) -> None:
        self.value: NDArray[np.uint8] | None = None

    def __setstate__(self, state: tuple[object, ...]) -> None:
        _, shape, dtype, is_fortran, raw = state
        if not isinstance(dtype, _Dtype) or dtype.code not in ("u1", b"u1"):
            raise pickle.UnpicklingError("an array is not uint8")
        if not isinstance(raw, bytes) or not isinstance(shape, tuple) or is_fortran:
            raise pickle.UnpicklingError("an array is not laid out row by row")
        self.value = np.frombuffer(raw, np.uint8).reshape(shape)


class _Dtype:
    """Stands in for `numpy.dtype`."""

    def __init__(self, code: object, *_: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        """Byte order and the like; one byte has none."""


class _Bytes:
    """Stands in for `_codecs.encode`, by which Python 3 writes bytes into old protocols."""

    def __new__(cls, text: str, encoding: str) -> Any:
        if encoding not in ("latin1", b"latin1"):
            raise pickle.UnpicklingError(f"bytes are encoded as {encoding!r}")
        return text.encode("latin1")

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("bytes have no state")


# Classes that define __setstate__, all of them: a pickle can then set no attribute on one and so change how
# the next file is read.
_STAND_INS = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _Bytes,
}


class _Reader(pickle._Unpickler):
    """The unpickler in Python: in the one in C, three bytes can ask for gigabytes of memo."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch needs") from None


def _plain(value: object) -> object:
    return value.value if isinstance(value, _Array) else value


def _text(key: object) -> str:
    return key.decode("latin1") if isinstance(key, bytes) else str(key)
