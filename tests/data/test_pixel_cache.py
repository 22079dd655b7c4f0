"""Decoded once, kept whole or not at all: killed, raced, damaged, full, always the pixels of the files."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toynet.core.errors import DataError
from toynet.core.reporter import Silent
from toynet.data import decoding
from toynet.data.decoding import Job, decode_files, run_job
from toynet.data.folder import read_folder
from toynet.data.images import ImageSet, is_mapped
from toynet.data.moments import image_moments
from toynet.data.pixels import read_pixels

READ = """
import sys
from pathlib import Path
from toynet.core.errors import ToyNetError
from toynet.core.reporter import Silent
from toynet.data.folder import read_folder

class Loud(Silent):
    def begin(self, task, total, unit):
        print(task, flush=True)
    def note(self, text):
        print(text, flush=True)

try:
    print(read_folder(Path(sys.argv[1]), reporter=Loud()).train.digest)
except ToyNetError as error:
    sys.exit(f"error: {error}")
"""


class Notes(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.tasks: list[str] = []

    def begin(self, task: str, total: int, unit: str) -> None:
        self.tasks.append(task)

    def note(self, text: str) -> None:
        self.notes.append(text)


def pictures(root: Path, each: int = 6, side: int = 40, mode: str = "RGB") -> Path:
    generator = np.random.default_rng(each)
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for number in range(each):
            noise = generator.integers(0, 256, (side, side, 3), np.uint8)
            Image.fromarray(noise).convert(mode).save(root / name / f"{number:04}.png")
    return root


def room() -> Path:
    return Path(os.environ["XDG_CACHE_HOME"]) / "toynet" / "pixels"


def entries() -> list[Path]:
    return sorted(path for path in room().iterdir() if path.name != ".lock")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return pictures(tmp_path / "pictures")


# ---- what is kept


def test_images_are_mapped_and_are_those_of_the_files(folder: Path) -> None:
    data = read_folder(folder, 24)
    for part in (data.train, data.test):
        assert is_mapped(part.images)
        assert part.digest == ImageSet(np.array(part.images), part.labels, part.classes).digest
        np.testing.assert_array_equal(part.moments, image_moments(np.array(part.images)))
    seen = {image.tobytes() for part in (data.train, data.test) for image in part.images}
    assert seen == {read_pixels(file, 24).tobytes() for file in folder.glob("*/*.png")}


def test_a_second_read_decodes_nothing_and_says_where_the_images_are(folder: Path) -> None:
    first, second = Notes(), Notes()
    before = read_folder(folder, reporter=first)
    assert read_folder(folder, reporter=second).train.digest == before.train.digest
    (entry,) = entries()
    assert first.tasks == ["list image files", "decode images", "summarise pixels"]
    assert second.tasks == ["list image files"]
    assert first.notes == [f"decoded 12 images into {entry} (0 MB)"]
    assert second.notes == [f"images were decoded before, into {entry}"]


def test_other_content_of_the_same_size_and_time_is_noticed(folder: Path) -> None:
    read_folder(folder)
    file = folder / "cat" / "0000.png"
    about = file.stat()
    file.write_bytes(bytes(about.st_size))  # no image any more, with the size and the time it had
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
    with pytest.raises(DataError, match=r"cat/0000\.png \(no image of a known format\)"):
        read_folder(folder)


def test_a_moved_folder_keeps_its_entry(folder: Path) -> None:
    read_folder(folder)
    moved = Notes()
    read_folder(folder.rename(folder.with_name("moved")), reporter=moved)
    assert "decode images" not in moved.tasks


def test_files_of_equal_names_sizes_and_times_are_told_apart(tmp_path: Path) -> None:
    means = []
    for name, level in (("dark", 30), ("bright", 220)):
        for place in ("cat/1.bmp", "cat/2.bmp", "dog/1.bmp", "dog/2.bmp"):
            (tmp_path / name / place).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), (level,) * 3).save(tmp_path / name / place)
            os.utime(tmp_path / name / place, (315532800, 315532800))
        means.append(np.asarray(read_folder(tmp_path / name).train.images).mean())
    assert means == [30, 220]


@pytest.mark.parametrize("change", ["content", "time", "name", "new", "gone"])
def test_any_change_decodes_anew_and_removes_what_was(folder: Path, change: str) -> None:
    read_folder(folder)
    (before,) = entries()
    read_folder(folder, 16)
    file = folder / "cat" / "0000.png"
    if change == "content":
        Image.new("RGB", (50, 50), "red").save(file)
    elif change == "time":
        os.utime(file, ns=(0, 1))
    elif change == "name":
        file.rename(file.with_name("zzz.png"))
    elif change == "new":
        Image.new("RGB", (50, 50), "red").save(folder / "dog" / "more.png")
    else:
        file.unlink()
    notes = Notes()
    data = read_folder(folder, reporter=notes)
    assert "decode images" in notes.tasks
    assert len(data.train) + len(data.test) == {"new": 13, "gone": 11}.get(change, 12)
    assert not before.exists()
    assert len(entries()) == 2, "that of the other size stays"


def test_the_channels_asked_for(tmp_path: Path) -> None:
    colour, gray = pictures(tmp_path / "colour"), pictures(tmp_path / "gray", mode="L")
    assert read_folder(colour).image_shape == read_folder(gray, channels=3).image_shape == (32, 32, 3)
    assert read_folder(gray).image_shape == read_folder(colour, channels=1).image_shape == (32, 32, 1)
    wide = read_folder(gray, channels=3).train.images
    np.testing.assert_array_equal(wide[..., :1], read_folder(gray).train.images)
    assert (wide == wide[..., :1]).all()
    for image, luma in zip(
        read_folder(colour).train.images, read_folder(colour, channels=1).train.images, strict=True
    ):
        np.testing.assert_array_equal(np.asarray(Image.fromarray(image).convert("L")), luma[..., 0])


# ---- what goes wrong


def start(folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", READ, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def decoders(parent: int) -> list[int]:
    """The children of `parent`."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
        except OSError:
            continue
    return found


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux' /proc")


@needs_proc
def test_a_killed_decode_leaves_no_child_and_nothing_that_is_used(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "many", each=900, side=32)
    process = start(folder)
    assert process.stdout is not None
    while process.stdout.readline().strip() != "decode images":
        pass
    while len(children := decoders(process.pid)) < 1:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (left,) = entries()
    assert left.name.startswith(".building-")
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(Path(f"/proc/{child}").exists() for child in children)
    data = read_folder(folder)
    assert not left.exists()
    assert len(entries()) == 1
    assert data.train.digest == ImageSet(np.array(data.train.images), data.train.labels, data.classes).digest
    assert all(image.any() for image in data.train.images)


def test_two_at_once_decode_once(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "many", each=600, side=32)
    both = [start(folder), start(folder)]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert len({out.splitlines()[-1] for out, _ in said}) == 1
    assert sum("decode images" in out for out, _ in said) == 1
    assert len(entries()) == 1


@pytest.mark.parametrize("damage", ["pixels", "cut", "manifest", "missing", "moments", "other json"])
def test_a_damaged_entry_is_decoded_anew_and_says_so(folder: Path, damage: str) -> None:
    good = read_folder(folder).train.digest
    (entry,) = entries()
    if damage == "pixels":
        with (entry / "images.npy").open("r+b") as file:
            file.seek(500)
            file.write(b"x")
    elif damage == "cut":
        os.truncate(entry / "images.npy", 1000)
    elif damage == "manifest":
        (entry / "manifest.json").write_text('{"images": [')
    elif damage == "missing":
        (entry / "manifest.json").unlink()
    elif damage == "moments":
        np.save(entry / "moments.npy", np.zeros((3, 2, 3), np.int64))
    else:
        (entry / "manifest.json").write_text("[]")
    notes = Notes()
    again = read_folder(folder, reporter=notes).train
    assert f"{entry} is damaged: the images are decoded anew" in notes.notes
    assert again.digest == good == ImageSet(np.array(again.images), again.labels, again.classes).digest
    quiet = Notes()
    read_folder(folder, reporter=quiet)
    assert "decode images" not in quiet.tasks


def test_files_that_cannot_be_read_leave_no_entry(folder: Path) -> None:
    (folder / "cat" / "0001.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"1 of 12 files cannot be used: .*0001\.png"):
        read_folder(folder)
    assert entries() == []


def test_a_cache_that_cannot_be_made_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.parent / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder.parent / "file"))
    with pytest.raises(DataError, match=r"cannot be kept in .*XDG_CACHE_HOME") as caught:
        read_folder(folder)
    assert "\n" not in str(caught.value)


def test_no_room_is_told_before_decoding_and_leaves_nothing(folder: Path) -> None:
    """A limit on the size of files: the system refuses the space as a full disk does."""
    run = subprocess.run(
        [sys.executable, "-c", READ, str(folder)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "decode images" not in run.stdout
    assert "File too large (0 MB are needed" in run.stderr
    assert run.stderr.count("\n") == 1
    assert entries() == []


def test_a_disk_that_fills_up_while_decoding_is_told(folder: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs Linux' /dev/full")
    paths = [str(path) for path in sorted(folder.glob("*/*.png"))]
    assert run_job(Job(paths, 8, "/dev/full", 0)).failed == "No space left on device"
    with pytest.raises(DataError, match="cannot write /dev/full: No space left on device"):
        decode_files(paths, len(paths), 8, Path("/dev/full"), 0, Silent())


# ---- several processes


@pytest.fixture
def by_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_FEW_FILES", 0)


def test_processes_give_what_threads_give(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [str(path) for path in sorted(folder.glob("*/*.png"))]
    found = []
    for few in (1000, 0):
        monkeypatch.setattr(decoding, "_FEW_FILES", few)
        monkeypatch.setattr(decoding, "_JOB_FILES", 5)
        target = tmp_path / f"pixels{few}"
        target.write_bytes(bytes(100))
        assert decode_files(iter(paths), len(paths), 8, target, 100, Silent())
        found.append(target.read_bytes())
    expected = np.stack([read_pixels(Path(path), 8) for path in paths])
    assert found[0] == found[1] == bytes(100) + expected.tobytes()


@pytest.mark.usefixtures("by_processes")
def test_processes_name_damaged_files_whatever_their_names(folder: Path) -> None:
    odd = folder / "cat" / "\udcff new\nline é.png"
    odd.write_bytes(b"GIF89a")
    before = set(decoders(os.getpid()))  # of other tests, such as the helper of multiprocessing
    with pytest.raises(DataError, match=r"1 of 13 files cannot be used: .* new") as caught:
        read_folder(folder)
    assert str(caught.value).isprintable()
    assert set(decoders(os.getpid())) <= before


@needs_proc
@pytest.mark.usefixtures("by_processes")
def test_a_decoder_that_dies_is_told_with_its_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "endless.png")  # opening it waits for a writer that never comes
    before = set(decoders(os.getpid()))

    def kill() -> None:
        while not (children := set(decoders(os.getpid())) - before):
            time.sleep(0.01)
        for child in children:
            os.kill(child, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    (tmp_path / "pixels").write_bytes(b"")
    with pytest.raises(DataError, match=r"a decoding process ended in .*endless\.png"):
        decode_files([str(tmp_path / "endless.png")], 1, 8, tmp_path / "pixels", 0, Silent())
    killer.join()
