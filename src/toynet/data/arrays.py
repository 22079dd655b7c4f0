"""A NumPy file: `x_train, y_train, x_test, y_test`, if need be `x_val, y_val` and `classes`.

Images are uint8, (N, H, W), (N, H, W, 1) or (N, H, W, 3). Labels are whole numbers (N,) or (N, 1), or one-hot
(N, K). Classes are those of `y_train`, numbered from 0 without a gap; `classes` names them. Nothing is
unpickled.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toynet.core.errors import DataError
from toynet.data.images import Dataset, ImageSet
from toynet.data.pixels import resize_images


def read_arrays(path: Path, size: int | None = None) -> Dataset:
    """Read the arrays in `path`, brought to `size` x `size` pixels if given.

    Raises `DataError` naming the file and the key that does not fit.
    """
    arrays = _load(path)
    names = ["train", "test", *(["val"] if "x_val" in arrays or "y_val" in arrays else [])]
    for key in (f"{axis}_{name}" for name in names for axis in "xy"):
        if key not in arrays:
            raise DataError(f"{path} has no {key}; it has {', '.join(sorted(arrays)) or 'nothing'}")
    pixels = {name: _images(arrays[f"x_{name}"], f"{path}: x_{name}") for name in names}
    labels = {name: _labels(arrays[f"y_{name}"], f"{path}: y_{name}") for name in names}
    classes = _classes(arrays.get("classes"), labels["train"], path)
    for name in names:
        if len(pixels[name]) != len(labels[name]):
            raise DataError(
                f"{path}: x_{name} has {len(pixels[name])} images, y_{name} {len(labels[name])} labels"
            )
        if pixels[name].shape[1:] != pixels["train"].shape[1:]:
            raise DataError(f"{path}: images of x_{name} have another shape than those of x_train")
        if labels[name].max() >= len(classes):
            raise DataError(f"{path}: y_{name} has the class {labels[name].max()}, which y_train has not")
    sets = {
        name: ImageSet(resize_images(pixels[name], size) if size else pixels[name], labels[name], classes)
        for name in names
    }
    return Dataset(f"npz:{path}", sets["train"], sets["test"], sets.get("val"))


def _load(path: Path) -> dict[str, NDArray[np.generic]]:
    known = {"x_train", "y_train", "x_val", "y_val", "x_test", "y_test", "classes"}
    where = str(path)
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            if not isinstance(content, np.lib.npyio.NpzFile):
                raise DataError(f"{path} holds one array; save several with numpy.savez")
            arrays = {}
            for key in known & set(content.files):
                where = f"{path}: {key}"
                arrays[key] = content[key]
            return arrays
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{where} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged file can fail in any way
        raise DataError(f"{where} cannot be read: it is not an array file of plain numbers") from error


def _images(array: NDArray[np.generic], where: str) -> NDArray[np.uint8]:
    if array.dtype != np.uint8:
        hint = "; from 0..1 take (x * 255).round().astype('uint8')" if array.dtype.kind == "f" else ""
        raise DataError(f"{where} is {array.dtype}, images must be uint8 in 0..255{hint}")
    if array.ndim == 3:
        array = array[..., np.newaxis]
    if array.ndim == 4 and array.shape[3] not in (1, 3) and array.shape[1] in (1, 3):
        raise DataError(f"{where} is {array.shape}; channels go last: x.transpose(0, 2, 3, 1)")
    if array.ndim != 4 or array.shape[3] not in (1, 3):
        raise DataError(f"{where} is {array.shape}, images must be (N, H, W), (N, H, W, 1) or (N, H, W, 3)")
    if array.size == 0:
        raise DataError(f"{where} is empty")
    return np.ascontiguousarray(array, np.uint8)


def _labels(array: NDArray[np.generic], where: str) -> NDArray[np.int64]:
    if array.ndim == 2 and array.shape[1] > 1:
        is_one_hot = array.dtype.kind in "iufb" and np.isin(array, (0, 1)).all()
        if not is_one_hot or (array.astype(np.int64).sum(axis=1) != 1).any():
            raise DataError(f"{where} is {array.shape}, but not one-hot: each row needs a single 1")
        return np.nonzero(array)[1].astype(np.int64)
    if array.dtype.kind not in "iu" or array.ndim not in (1, 2):
        raise DataError(
            f"{where} is {array.dtype} {array.shape}, labels must be whole numbers (N,) or one-hot"
        )
    if array.size == 0:
        raise DataError(f"{where} is empty")
    if array.min() < 0 or array.max() > np.iinfo(np.int32).max:
        raise DataError(f"{where} has labels in {array.min()}..{array.max()}; they must be 0..K-1")
    return array.reshape(-1).astype(np.int64)


def _classes(given: NDArray[np.generic] | None, labels: NDArray[np.int64], path: Path) -> tuple[str, ...]:
    present = np.unique(labels)
    if len(present) < 2:
        raise DataError(f"{path}: y_train has one class; a classifier needs two")
    if given is None:
        names = tuple(str(number) for number in range(int(present[-1]) + 1))
    elif given.ndim != 1 or given.dtype.kind != "U" or len(np.unique(given)) != len(given):
        raise DataError(f"{path}: classes must be a list of different names")
    else:
        names = tuple(str(name) for name in given)
    missing = np.setdiff1d(np.arange(len(names)), present)
    if len(missing):
        raise DataError(f"{path}: y_train has no image of class {names[missing[0]]}; number classes 0..K-1")
    if present[-1] >= len(names):
        raise DataError(f"{path}: y_train has the class {present[-1]}, classes names {len(names)}")
    return names
