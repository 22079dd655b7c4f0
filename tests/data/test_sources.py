"""From a name to a data set: on disk, from an archive, downloaded, or refused with what to do."""

import dataclasses
import hashlib
import io
import sys
import tarfile
import threading
import types
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import platformdirs
import pytest
from PIL import Image

from toynet.core.errors import DataError, UsageError
from toynet.core.reporter import Silent
from toynet.data import download as download_module
from toynet.data.cifar import CIFAR10, VARIANTS
from toynet.data.cifar_archive import mirror_urls
from toynet.data.images import Dataset, ImageSet
from toynet.data.root import data_root, prepare_root
from toynet.data.sources import fetch, load
from toynet.data.spec import DataSpec


def small_archive() -> bytes:
    """CIFAR-10's archive with four images a file, label = image number."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        records = b"".join(bytes([number]) + bytes([50 * number]) * 3072 for number in range(4))
        contents = dict.fromkeys((*CIFAR10.train_files, CIFAR10.test_file), records)
        for name, content in {"batches.meta.txt": "\n".join("abcdefghij").encode(), **contents}.items():
            member = tarfile.TarInfo(f"{CIFAR10.folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


ARCHIVE = small_archive()


@pytest.fixture(autouse=True)
def small_cifar(monkeypatch: pytest.MonkeyPatch) -> None:
    """CIFAR-10 whose official archive is ours, and whose official host is this machine, not listening."""
    variant = dataclasses.replace(
        CIFAR10, sha256=hashlib.sha256(ARCHIVE).hexdigest(), mirrors=("http://127.0.0.1:9/official",)
    )
    monkeypatch.setitem(VARIANTS, "cifar10", variant)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("TOYNET_MIRRORS", raising=False)
    monkeypatch.delenv("TOYNET_DATA", raising=False)
    monkeypatch.setattr(download_module, "PAUSE_S", 0.0)


Serve = Callable[[bytes], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server of one content, at any path; returns its base address."""
    running = []

    def start(content: bytes) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((http, thread))
        return f"http://127.0.0.1:{http.server_port}"

    yield start
    for http, thread in running:
        http.shutdown()
        thread.join()
        http.server_close()


def is_small_cifar(data: Dataset) -> bool:
    return (
        data.train.labels.tolist() == [0, 1, 2, 3] * 5
        and data.test.images[:, 5, 5].tolist() == [[0] * 3, [50] * 3, [100] * 3, [150] * 3]
        and data.classes == tuple("abcdefghij")
    )


# ---- the root


def test_the_root_is_explicit_else_the_variable_else_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    cache = Path(platformdirs.user_cache_dir("toynet")) / "data"
    assert data_root() == cache
    monkeypatch.setenv("TOYNET_DATA", "")
    assert data_root() == cache
    monkeypatch.setenv("TOYNET_DATA", "~/sets")
    assert data_root() == Path("/somewhere/sets")
    assert data_root(Path("here")) == Path("here")


def test_only_the_cache_is_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    prepare_root(data_root())
    assert data_root().is_dir()
    with pytest.raises(DataError, match="chosen does not exist"):
        prepare_root(tmp_path / "chosen")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file is not a folder"):
        prepare_root(tmp_path / "file")
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(DataError, match="cannot be written to"):
        prepare_root(tmp_path)


# ---- CIFAR's way to the disk


def test_an_unpacked_folder_is_used_as_it_is(tmp_path: Path, serve: Serve) -> None:
    fetch("cifar10", tmp_path, f"{serve(ARCHIVE)}/x.tar.gz")
    (tmp_path / CIFAR10.archive).unlink()
    (tmp_path / CIFAR10.folder / "test_batch.bin").write_bytes(b"\x09" + bytes(3072))
    assert load(DataSpec(), tmp_path).test.labels.tolist() == [9]


def test_the_archive_in_the_root_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / CIFAR10.archive).write_bytes(ARCHIVE)
    assert is_small_cifar(load(DataSpec(), tmp_path))
    assert (tmp_path / CIFAR10.folder).is_dir()


def test_the_root_is_that_of_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOYNET_DATA", str(tmp_path))
    (tmp_path / CIFAR10.archive).write_bytes(ARCHIVE)
    assert is_small_cifar(load(DataSpec()))


def test_a_file_brought_by_hand_is_unpacked_and_left(tmp_path: Path) -> None:
    brought = tmp_path / "stick" / "any name.tgz"
    brought.parent.mkdir()
    brought.write_bytes(ARCHIVE)
    root = tmp_path / "root"
    root.mkdir()
    assert fetch("cifar10", root, str(brought)) == root / CIFAR10.folder
    assert is_small_cifar(load(DataSpec(), root))
    assert brought.exists()


def test_missing_data_are_downloaded_with_progress(
    tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Tasks(Silent):
        def __init__(self) -> None:
            self.begun: list[str] = []

        def begin(self, task: str, total: int, unit: str) -> None:
            self.begun.append(f"{task}: {total} {unit}")

    tasks = Tasks()
    monkeypatch.setenv("TOYNET_MIRRORS", f"http://127.0.0.1:9, {serve(b'wrong')}/, {serve(ARCHIVE)}/pub")
    assert is_small_cifar(load(DataSpec(), tmp_path, tasks))
    assert f"download {CIFAR10.archive}: {len(ARCHIVE)} bytes" in tasks.begun
    assert tasks.begun[-1] == f"unpack {CIFAR10.archive}: 7 files"


def test_own_mirrors_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    official = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
    assert mirror_urls(CIFAR10) == (official,)
    monkeypatch.setenv("TOYNET_MIRRORS", "http://a/x/, http://b")
    assert mirror_urls(CIFAR10) == (
        "http://a/x/cifar-10-binary.tar.gz",
        "http://b/cifar-10-binary.tar.gz",
        official,
    )


def test_without_a_network_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load(DataSpec(), tmp_path)
    message = str(caught.value)
    for part in (
        str(tmp_path),
        "127.0.0.1:9: Connection refused",
        f"http://127.0.0.1:9/official/{CIFAR10.archive}",
        "toynet data fetch cifar10 --from FILE",
        "--data glyphs",
    ):
        assert part in message
    assert "\n" not in message


def test_wrong_archives_are_never_unpacked(tmp_path: Path, serve: Serve) -> None:
    wrong = ARCHIVE[:-20] + bytes([ARCHIVE[-20] ^ 1]) + ARCHIVE[-19:]
    (tmp_path / "brought").write_bytes(wrong)
    with pytest.raises(DataError, match=r"brought is not the official cifar-10-binary\.tar\.gz"):
        fetch("cifar10", tmp_path, str(tmp_path / "brought"))
    with pytest.raises(DataError, match="other bytes"):
        fetch("cifar10", tmp_path, f"{serve(wrong)}/x")
    (tmp_path / CIFAR10.archive).write_bytes(wrong)
    with pytest.raises(DataError, match="remove it and fetch it again"):
        load(DataSpec(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"brought", CIFAR10.archive, ".lock"}


def test_wrong_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere is not a file"):
        fetch("cifar10", tmp_path, "nowhere")
    with pytest.raises(DataError, match="does not exist"):
        fetch("cifar10", tmp_path / "missing")
    with pytest.raises(UsageError, match=r"'glyphs' is not a data set to fetch"):
        fetch("glyphs", tmp_path)


def test_what_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    (tmp_path / CIFAR10.archive).write_bytes(ARCHIVE)
    assert fetch("cifar10", tmp_path) == fetch("cifar10", tmp_path) == tmp_path / CIFAR10.folder


# ---- names


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("cifar", "cifar10"),
        ("cifar10:x", "cifar10"),
        ("glyps", "glyphs"),
        ("glyphs:", "glyphs"),
        ("folder", "folder:PATH"),
        ("npz:", "npz:PATH"),
        ("", "choose from"),
    ],
)
def test_unknown_names_are_refused(name: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"unknown data set '{name}'.*{near}"):
        load(DataSpec(name=name))


def test_size_applies_to_every_source(tmp_path: Path) -> None:
    (tmp_path / CIFAR10.archive).write_bytes(ARCHIVE)
    data = load(DataSpec(size=16), tmp_path)
    assert data.train.images.shape == (20, 16, 16, 3)
    assert (data.test.images[1] == 50).all()
    for name in "ab":
        for index in range(5):
            (tmp_path / "images" / name).mkdir(parents=True, exist_ok=True)
            Image.new("L", (40, 30), index).save(tmp_path / "images" / name / f"{index}.png")
    spec = DataSpec(name=f"folder:{tmp_path}/images", size=24)
    assert load(spec).train.images.shape == (8, 24, 24, 1)
    assert load(spec).name == spec.name
    content = {"x_train": np.zeros((4, 9, 9), np.uint8), "y_train": [0, 1, 0, 1]}
    np.savez(tmp_path / "a.npz", x_test=content["x_train"], y_test=content["y_train"], **content)
    assert load(DataSpec(name=f"npz:{tmp_path}/a.npz", size=8)).image_shape == (8, 8, 1)


@pytest.fixture
def fake_glyphs(monkeypatch: pytest.MonkeyPatch) -> None:
    def glyphs(count: int = 12_000, seed: int = 0) -> Dataset:
        images = ImageSet(np.zeros((count, 32, 32, 3), np.uint8), np.zeros(count, np.int64), ("0", "1"))
        return Dataset("glyphs", images, images)

    module = types.ModuleType("toynet.data.glyphs")
    module.glyphs = glyphs
    monkeypatch.setitem(sys.modules, "toynet.data.glyphs", module)


@pytest.mark.usefixtures("fake_glyphs")
def test_glyphs_take_a_count() -> None:
    assert len(load(DataSpec(name="glyphs")).train) == 12_000
    assert len(load(DataSpec(name="glyphs:50")).train) == 50
    assert load(DataSpec(name="glyphs:50", size=16)).image_shape == (16, 16, 3)
    for count in ("0", "-5", "many", "1.5"):
        with pytest.raises(UsageError, match="needs a number of images"):
            load(DataSpec(name=f"glyphs:{count}"))
