"""NumPy files: what is read, and that every misfit is refused by the name of its key."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toynet.core.errors import DataError
from toynet.data.arrays import read_arrays


def arrays(**changes: Any) -> dict[str, Any]:
    """Six training and three test images of three classes; a change to none leaves a key out."""
    draw = np.random.default_rng(0)
    content = {
        "x_train": draw.integers(0, 256, (6, 12, 12, 3), np.uint8),
        "y_train": np.array([0, 1, 2, 0, 1, 2]),
        "x_test": draw.integers(0, 256, (3, 12, 12, 3), np.uint8),
        "y_test": np.array([2, 1, 0]),
        **changes,
    }
    return {key: value for key, value in content.items() if value is not None}


def write(path: Path, content: dict[str, Any]) -> Path:
    np.savez(path / "data.npz", **content)
    return path / "data.npz"


def test_arrays_are_taken_as_they_are(tmp_path: Path) -> None:
    content = arrays()
    data = read_arrays(write(tmp_path, content))
    np.testing.assert_array_equal(data.train.images, content["x_train"])
    np.testing.assert_array_equal(data.test.images, content["x_test"])
    assert data.train.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert data.test.labels.tolist() == [2, 1, 0]
    assert data.classes == ("0", "1", "2")
    assert data.val is None


@pytest.mark.parametrize("shape", [(12, 12), (12, 12, 1)])
def test_gray_images_have_one_channel(tmp_path: Path, shape: tuple[int, ...]) -> None:
    content = arrays(x_train=np.full((6, *shape), 9, np.uint8), x_test=np.full((3, *shape), 8, np.uint8))
    assert read_arrays(write(tmp_path, content)).image_shape == (12, 12, 1)


@pytest.mark.parametrize(
    "labels",
    [
        np.array([[2], [1], [0]]),
        np.array([2, 1, 0], np.uint8),
        np.eye(3)[[2, 1, 0]],
        np.eye(3, dtype=bool)[[2, 1, 0]],
        np.eye(3, dtype=np.int8)[[2, 1, 0]],
    ],
)
def test_forms_of_labels(tmp_path: Path, labels: Any) -> None:
    data = read_arrays(write(tmp_path, arrays(y_test=labels)))
    assert data.test.labels.tolist() == [2, 1, 0]
    assert data.test.labels.dtype == np.int64


def test_classes_are_named_and_val_is_taken(tmp_path: Path) -> None:
    content = arrays(
        classes=np.array(["cat", "dog", "emu"]),
        x_val=np.zeros((2, 12, 12, 3), np.uint8),
        y_val=np.array([1, 1]),
    )
    data = read_arrays(write(tmp_path, content))
    assert data.classes == ("cat", "dog", "emu")
    assert data.val is not None
    assert data.val.labels.tolist() == [1, 1]


def test_images_are_resized_if_a_size_is_given(tmp_path: Path) -> None:
    content = arrays(
        x_train=np.full((6, 20, 30, 3), 77, np.uint8), x_test=np.full((3, 20, 30, 3), 88, np.uint8)
    )
    path = write(tmp_path, content)
    assert read_arrays(path).image_shape == (20, 30, 3)
    data = read_arrays(path, size=8)
    assert data.train.images.shape == (6, 8, 8, 3)
    assert (data.test.images == 88).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "has no y_test; it has x_test, x_train, y_train"),
        ({"y_val": np.array([0])}, "has no x_val"),
        ({"x_train": np.zeros((6, 12, 12, 3), np.float32)}, r"x_train is float32.*\(x \* 255\)"),
        ({"x_train": np.zeros((6, 12, 12, 3), np.int64)}, "x_train is int64"),
        ({"x_test": np.zeros((3, 3, 12, 12), np.uint8)}, "x_test is .*channels go last"),
        ({"x_test": np.zeros((3, 12, 12, 4), np.uint8)}, "x_test is .*images must be"),
        ({"x_test": np.zeros((3, 144), np.uint8)}, "x_test is .*images must be"),
        ({"x_test": np.zeros((0, 12, 12, 3), np.uint8)}, "x_test is empty"),
        ({"x_test": np.zeros((3, 12, 13, 3), np.uint8)}, "x_test have another shape"),
        ({"x_test": np.zeros((3, 12, 12), np.uint8)}, "x_test have another shape"),
        ({"y_train": np.array([0, 1, 2])}, "x_train has 6 images, y_train 3 labels"),
        ({"y_train": np.array([0, 1, -1, 0, 1, 2])}, r"y_train has labels in -1\.\.2"),
        ({"y_train": np.array([0, 1, 3, 0, 1, 3])}, "y_train has no image of class 2"),
        ({"y_train": np.array([1, 2, 3, 1, 2, 3])}, "y_train has no image of class 0"),
        ({"y_train": np.array([0, 1, 2**40, 0, 1, 2])}, "y_train has labels"),
        ({"y_train": np.zeros(6, int)}, "y_train has one class"),
        ({"y_train": np.array([0.0, 1, 2, 0, 1, 2])}, "y_train is float64"),
        ({"y_train": np.array(list("abcabc"))}, "y_train is <U1"),
        ({"y_test": np.array([2, 1, 3])}, "y_test has the class 3, which y_train has not"),
        ({"y_test": np.array(1)}, "y_test is int64"),
        ({"y_test": np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]])}, "y_test is .*not one-hot"),
        ({"y_test": np.array([[1, 0, 0], [0, 0, 0], [0, 0, 1]])}, "y_test is .*not one-hot"),
        ({"y_test": np.array([[0.5, 0.5, 0]] * 3)}, "y_test is .*not one-hot"),
        ({"classes": np.array(["a", "b"])}, "y_train has the class 2, classes names 2"),
        ({"classes": np.array(["a", "b", "c", "d"])}, "y_train has no image of class d"),
        ({"classes": np.array(["a", "b", "b"])}, "classes must be"),
        ({"classes": np.arange(3)}, "classes must be"),
    ],
)
def test_misfits_are_refused_by_key(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=rf"data\.npz.*{message}") as caught:
        read_arrays(write(tmp_path, arrays(**changes)))
    assert "\n" not in str(caught.value)


class Gadget:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    path = write(tmp_path, arrays(y_test=np.array([Gadget(witness)], object)))
    with pytest.raises(DataError, match=r"data\.npz: y_test cannot be read"):
        read_arrays(path)
    assert not witness.exists()
    with np.load(path, allow_pickle=True) as content:
        assert content["y_test"].shape == (1,)
    assert witness.exists(), "the gadget would have run"


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    with pytest.raises(DataError, match="No such file"):
        read_arrays(path)
    for content in (b"", b"text", b"PK\x03\x04 no zip"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"data\.npz cannot be read"):
            read_arrays(path)
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match="holds one array"):
        read_arrays(path)


def test_damage_is_noticed_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, **arrays())
    sound = read_arrays(path)
    whole = path.read_bytes()
    noticed = []
    places = range(0, len(whole), 61)
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 64]) + whole[place + 1 :])
        try:
            data = read_arrays(path)  # a time stamp may be altered, pixels and labels may not
            assert (data.train.digest, data.test.digest) == (sound.train.digest, sound.test.digest)
        except DataError as error:
            noticed.append(str(error))
        path.write_bytes(whole[:place])
        with pytest.raises(DataError, match=r"data\.npz cannot be read"):
            read_arrays(path)
    assert len(noticed) > 0.8 * len(places)
    assert all("data.npz" in message for message in noticed)
