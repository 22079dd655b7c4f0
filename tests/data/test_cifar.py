"""CIFAR in both official layouts, made small; pickles that try to run something; the real set if here."""

import os
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from toynet.core.errors import DataError
from toynet.data.cifar import CIFAR10, CIFAR100, Variant, read_cifar
from toynet.data.pickles import read_pickle

NAMES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def batch(seed: int, count: int, classes: int = 10) -> tuple[NDArray[np.uint8], list[int]]:
    """Pixels (N, 32, 32, 3) and labels."""
    draw = np.random.default_rng(seed)
    return draw.integers(0, 256, (count, 32, 32, 3), np.uint8), draw.integers(0, classes, count).tolist()


def as_rows(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.stack([np.concatenate([image[:, :, c].ravel() for c in range(3)]) for image in images])


def write_binary(folder: Path, variant: Variant, count: int = 7) -> Path:
    folder.mkdir(parents=True)
    names = NAMES if variant is CIFAR10 else [f"fine {number}" for number in range(100)]
    (folder / variant.class_file).write_text("\n".join(names) + "\n\n")
    for seed, name in enumerate((*variant.train_files, variant.test_file)):
        images, labels = batch(seed, count, variant.class_count)
        with (folder / name).open("wb") as file:
            for row, label in zip(as_rows(images), labels, strict=True):
                file.write(bytes([99] * (variant.label_bytes - 1) + [label]) + row.tobytes())
    return folder


def write_python(folder: Path, count: int = 7) -> Path:
    folder.mkdir(parents=True)
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(NAMES)}, protocol=2))
    for seed, name in enumerate((*CIFAR10.train_files, CIFAR10.test_file)):
        images, labels = batch(seed, count)
        content = {b"data": as_rows(images), b"labels": labels, b"batch_label": b"some batch"}
        (folder / Path(name).stem).write_bytes(pickle.dumps(content, protocol=2))
    return folder


def test_binary_files_are_read_as_they_were_written(tmp_path: Path) -> None:
    data = read_cifar(CIFAR10, write_binary(tmp_path / CIFAR10.folder, CIFAR10))
    expected = [batch(seed, 7) for seed in range(6)]
    np.testing.assert_array_equal(data.train.images, np.concatenate([images for images, _ in expected[:5]]))
    assert data.train.labels.tolist() == [label for _, labels in expected[:5] for label in labels]
    np.testing.assert_array_equal(data.test.images, expected[5][0])
    assert data.test.labels.tolist() == expected[5][1]
    assert data.classes == NAMES
    assert data.train.images.flags.c_contiguous


def test_cifar100_has_its_fine_labels(tmp_path: Path) -> None:
    data = read_cifar(CIFAR100, write_binary(tmp_path / CIFAR100.folder, CIFAR100))
    assert data.train.labels.tolist() == batch(0, 7, 100)[1]
    np.testing.assert_array_equal(data.test.images, batch(1, 7, 100)[0])
    assert data.classes[42] == "fine 42"


def test_both_layouts_agree(tmp_path: Path) -> None:
    binary = read_cifar(CIFAR10, write_binary(tmp_path / CIFAR10.folder, CIFAR10))
    python = read_cifar(CIFAR10, write_python(tmp_path / "cifar-10-batches-py"))
    assert binary.train.digest == python.train.digest
    assert binary.test.digest == python.test.digest


def test_a_batch_of_python_2_is_read(tmp_path: Path) -> None:
    # As the official files have it: byte strings, NumPy's old module name, protocol 2, written out by hand.
    def text(value: bytes) -> bytes:
        return b"T" + len(value).to_bytes(4, "little") + value

    raw = bytes(range(256)) * 12
    dtype = b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
    state = b"(K\x01(K\x01M\x00\x0ct" + dtype + b"\x89" + text(raw) + b"tb"
    path = tmp_path / "data_batch_1"
    path.write_bytes(b"\x80\x02}(U\x04data" + array + state + b"U\x06labels](K\x07eu.")
    content = read_pickle(path)
    assert content["labels"] == [7]
    assert content["data"].tolist() == [list(raw)]
    assert pickle.loads(path.read_bytes(), encoding="bytes")[b"data"].tolist() == [list(raw)]


@pytest.mark.parametrize("content", [b"", b"\x03" * 3072, b"\x03" * 3074])
def test_a_file_of_wrong_size_is_named(tmp_path: Path, content: bytes) -> None:
    folder = write_binary(tmp_path / CIFAR10.folder, CIFAR10)
    (folder / "data_batch_3.bin").write_bytes(content)
    with pytest.raises(DataError, match=r"data_batch_3\.bin has .* bytes"):
        read_cifar(CIFAR10, folder)


def test_a_label_out_of_range_is_named(tmp_path: Path) -> None:
    folder = write_binary(tmp_path / CIFAR10.folder, CIFAR10)
    (folder / "test_batch.bin").write_bytes(b"\x0a" + bytes(3072))
    with pytest.raises(DataError, match=r"test_batch\.bin: label 10 is outside 0\.\.9"):
        read_cifar(CIFAR10, folder)


@pytest.mark.parametrize("name", ["data_batch_4.bin", "test_batch.bin", "batches.meta.txt"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = write_binary(tmp_path / CIFAR10.folder, CIFAR10)
    (folder / name).unlink()
    with pytest.raises(DataError, match=name):
        read_cifar(CIFAR10, folder)


@pytest.mark.parametrize("names", ["a\nb\n", "\n".join("aacdefghij")])
def test_class_names_must_be_ten_different_ones(tmp_path: Path, names: str) -> None:
    folder = write_binary(tmp_path / CIFAR10.folder, CIFAR10)
    (folder / "batches.meta.txt").write_text(names)
    with pytest.raises(DataError, match="classes, not 10"):
        read_cifar(CIFAR10, folder)


class Gadget:
    """Asks the unpickler to call `function(*arguments)`."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def gadgets(witness: Path) -> dict[str, bytes]:
    """Pickles that would create `witness`, or worse, in an ordinary unpickler."""
    shell = f"touch {witness}"
    write = f"open({str(witness)!r}, 'w').close()"
    good = {b"data": np.zeros((1, 3072), np.uint8), b"labels": [0]}
    objects: dict[str, object] = {
        "os.system": Gadget(os.system, shell),
        "eval": Gadget(eval, write),
        "exec": Gadget(exec, write),
        "open": Gadget(open, str(witness), "w"),
        "in a list": [Gadget(os.system, shell)],
        "as a key": {(Gadget(exec, write),): 1},
        "beside good data": {**good, b"extra": Gadget(exec, write)},
        "as data": {**good, b"data": Gadget(exec, write)},
        "as labels": {**good, b"labels": Gadget(exec, write)},
        "getattr": Gadget(getattr, Gadget(__import__, "os"), "system"),
        "import": Gadget(__import__, "antigravity"),
        "numpy load": Gadget(np.load, str(witness)),
        "numpy save": Gadget(np.save, str(witness), 1),
        "numpy memmap": Gadget(np.memmap, str(witness), "uint8", "w+", 0, (4,)),
        "nested pickle": Gadget(pickle.loads, pickle.dumps(Gadget(exec, write))),
        "object array": {**good, b"data": np.array([Gadget(exec, write)], object)},
    }
    made = {
        f"{name} {protocol}": pickle.dumps(value, protocol)
        for name, value in objects.items()
        for protocol in (0, 2, 4)
    }
    made["instance opcode"] = b"(S'" + shell.encode() + b"'\nios\nsystem\n."
    made["object opcode"] = b"(cos\nsystem\nS'" + shell.encode() + b"'\no."
    made["dotted name"] = b"\x80\x04\x8c\x05numpy\x8c\x0ddtype.mro.foo\x93."
    made["other attribute"] = b"cnumpy\nfromfile\n(S'/etc/passwd'\ntR."
    made["other codec"] = b"c_codecs\nencode\n(Vabc\nVzlib\ntR."
    made["extension"] = b"\x80\x02\x82\x01."
    made["persistent"] = b"Pwhatever\n."
    made["state on a class"] = b"cnumpy\ndtype\n(N}S'code'\nS'u1'\nstb."
    made["huge memo"] = b"\x80\x02Nr\xff\xff\xff\xff."
    return made


@pytest.mark.parametrize("kind", gadgets(Path("unused")))
def test_pickles_run_nothing(tmp_path: Path, kind: str) -> None:
    witness = tmp_path / "witness"
    folder = write_python(tmp_path / "cifar-10-batches-py")
    (folder / "data_batch_2").write_bytes(gadgets(witness)[kind])
    with pytest.raises(DataError, match="data_batch_2") as caught:
        read_cifar(CIFAR10, folder)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("witness*"))


def test_the_gadgets_would_run_elsewhere(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    pickle.loads(gadgets(witness)["beside good data 2"])
    assert witness.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({b"labels": [1]}, "no data"),
        ({b"data": np.zeros((1, 3071), np.uint8), b"labels": [1]}, "no data"),
        ({b"data": np.zeros((1, 3072), np.int16), b"labels": [1]}, "not uint8"),
        ({b"data": np.zeros((3072, 2), np.uint8).T, b"labels": [1, 1]}, "row by row"),
        ({b"data": np.zeros((1, 3072), np.uint8)}, "no list of class numbers"),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": ["1"]}, "no list of class numbers"),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": [10**30]}, "no list of class numbers"),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": [1, 2]}, "2 labels for 1 images"),
        ({b"data": np.zeros((0, 3072), np.uint8), b"labels": []}, ""),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": [-1]}, "outside"),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": [10]}, "outside"),
        ([1, 2], "no dictionary"),
    ],
)
def test_a_python_batch_that_does_not_fit_is_named(tmp_path: Path, content: object, message: str) -> None:
    folder = write_python(tmp_path / "cifar-10-batches-py")
    (folder / "data_batch_5").write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(DataError, match=rf"data_batch_5.*{message}"):
        read_cifar(CIFAR10, folder)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_python_batch_is_named(tmp_path: Path, share: float) -> None:
    folder = write_python(tmp_path / "cifar-10-batches-py")
    content = (folder / "test_batch").read_bytes()
    (folder / "test_batch").write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match="test_batch is not a batch"):
        read_cifar(CIFAR10, folder)


def test_the_real_cifar10() -> None:
    folder = Path(os.environ.get("TOYNET_DATA", "nowhere")) / CIFAR10.folder
    if not folder.is_dir():
        pytest.skip(
            f"the real CIFAR-10 is needed: set TOYNET_DATA to the folder that holds {CIFAR10.folder}/"
        )
    spent_s = []
    for _ in range(2):
        start = time.process_time()
        data = read_cifar(CIFAR10, folder)
        spent_s.append(time.process_time() - start)
    assert min(spent_s) < 1.5
    assert data.train.images.shape == (50_000, 32, 32, 3)
    assert data.test.images.shape == (10_000, 32, 32, 3)
    assert np.bincount(data.train.labels).tolist() == [5_000] * 10
    assert np.bincount(data.test.labels).tolist() == [1_000] * 10
    means = data.train.images.reshape(-1, 3).mean(axis=0) / 255
    np.testing.assert_allclose(means, (0.4914, 0.4822, 0.4465), atol=1e-4)
    assert data.classes[0] == "airplane"
    assert data.classes[9] == "truck"
