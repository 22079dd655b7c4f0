"""Folders of images, and a zoo of image files: each becomes the pixels it should or is refused by name."""

import os
import struct
import tempfile
import time
import tracemalloc
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toynet.core.errors import DataError
from toynet.core.reporter import Silent
from toynet.data.folder import read_folder
from toynet.data.pixels import read_pixels, resize_images

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def save(path: Path, colour: object = RED, *, mode: str = "RGB", size: tuple[int, int] = (20, 20)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)
    return path


def make(path: Path, counts: dict[str, int]) -> Path:
    """Class folders with so many images each; the red value tells them apart."""
    for place, (name, count) in enumerate(counts.items()):
        for index in range(count):
            save(path / name / f"{index:03}.png", (10 * place + 100, index, 7))
    return path


# ---- layout


def test_parts_are_read_with_the_classes_of_train(tmp_path: Path) -> None:
    for part, count in {"train": 4, "val": 2, "test": 3}.items():
        make(tmp_path / part, {"dog": count, "cat": count + 1})
    data = read_folder(tmp_path)
    assert data.classes == ("cat", "dog")
    assert data.val is not None
    assert [len(part) for part in (data.train, data.val, data.test)] == [9, 5, 7]
    assert data.image_shape == (32, 32, 3)
    for part in (data.train, data.val, data.test):
        # "dog" was written first, with red 100; "cat" with 110.
        assert part.images[:, 5, 5, 0].tolist() == [110 if label == 0 else 100 for label in part.labels]


def test_order_is_that_of_the_names(tmp_path: Path) -> None:
    make(tmp_path / "train", {"a": 5, "b": 5})
    make(tmp_path / "test", {"a": 1, "b": 1})
    assert read_folder(tmp_path).train.images[:5, 0, 0, 1].tolist() == [0, 1, 2, 3, 4]


def test_classes_directly_give_a_fifth_of_each_to_test(tmp_path: Path) -> None:
    make(tmp_path, {"a": 20, "b": 10, "c": 2})
    data, again = read_folder(tmp_path), read_folder(tmp_path)
    assert np.bincount(data.test.labels).tolist() == [4, 2, 1]
    assert np.bincount(data.train.labels).tolist() == [16, 8, 1]
    assert data.test.digest == again.test.digest
    seen = {tuple(image[0, 0]) for part in (data.train, data.test) for image in part.images}
    assert len(seen) == 32, "every file is in one of the two, none in both"
    assert data.test.images[:4, 0, 0, 1].tolist() != [0, 1, 2, 3], "drawn, not the first ones"


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    make(tmp_path, {"a": 2, "b": 2})
    (tmp_path / ".DS_Store").write_bytes(b"x")
    (tmp_path / "a" / ".DS_Store").write_bytes(b"x")
    (tmp_path / ".git").mkdir()
    (tmp_path / "LICENSE").write_text("free")
    assert len(read_folder(tmp_path).train) == 2


def refuse(path: Path, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_folder(path)
    assert "\n" not in str(caught.value)


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    make(tmp_path / "train", {"cat": 2, "dog": 2})
    make(tmp_path / "test", {"cat": 1, "dog": 1})
    return tmp_path


def test_a_class_unknown_to_train_is_refused(parts: Path) -> None:
    save(parts / "test" / "dogs" / "1.png")
    refuse(parts, r"test has the class dogs, which train has not; did you mean dog\?")


def test_a_class_missing_in_test_is_refused(parts: Path) -> None:
    (parts / "test" / "cat" / "000.png").unlink()
    (parts / "test" / "cat").rmdir()
    save(parts / "test" / "cow" / "1.png")
    refuse(parts, "test has no class cat, which train has")


def test_an_empty_class_is_refused(parts: Path) -> None:
    (parts / "train" / "emu").mkdir()
    refuse(parts, "emu is empty")


def test_a_misspelt_part_is_refused(parts: Path) -> None:
    make(parts / "vall", {"cat": 1, "dog": 1})
    refuse(parts, r"vall is none of train, val, test; did you mean val\?")


def test_a_missing_test_part_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "train", {"cat": 2, "dog": 2})
    refuse(tmp_path, "no test/")


def test_one_class_is_refused(tmp_path: Path) -> None:
    make(tmp_path, {"cat": 3})
    refuse(tmp_path, "one class, cat")


def test_one_image_cannot_be_split(tmp_path: Path) -> None:
    make(tmp_path, {"cat": 3, "dog": 1})
    refuse(tmp_path, "dog has one image")


def test_no_images_no_folder_and_a_file_are_refused(tmp_path: Path) -> None:
    refuse(tmp_path, "no class folders")
    refuse(tmp_path / "missing", "is not a folder")
    refuse(save(tmp_path / "a.png"), "is not a folder")
    refuse(tmp_path, r"a\.png lies outside the class folders")


def test_folders_and_pipes_inside_a_class_are_refused(tmp_path: Path) -> None:
    make(tmp_path, {"a": 2, "b": 2})
    os.mkfifo(tmp_path / "a" / "pipe.png")
    refuse(tmp_path, r"pipe\.png is not a file")
    (tmp_path / "a" / "pipe.png").unlink()
    (tmp_path / "a" / "deep").mkdir()
    refuse(tmp_path, "deep is not a file")


def test_links_inside_the_folder_count_as_files(tmp_path: Path) -> None:
    make(tmp_path / "train", {"a": 3, "b": 3})
    make(tmp_path / "test", {"a": 1})
    (tmp_path / "train" / "a" / "link.png").symlink_to(tmp_path / "train" / "b" / "000.png")
    (tmp_path / "test" / "b").symlink_to(tmp_path / "train" / "b", target_is_directory=True)
    data = read_folder(tmp_path)
    assert (len(data.train), len(data.test)) == (7, 4)
    np.testing.assert_array_equal(data.train.images[3], data.train.images[4])
    (tmp_path / "way").symlink_to(tmp_path / "train", target_is_directory=True)
    assert len(read_folder(tmp_path / "way").train) == 5, "a link as the root is a root"


def test_links_that_lead_out_or_nowhere_are_refused(tmp_path: Path) -> None:
    root, outside = make(tmp_path / "root", {"a": 2, "b": 2}), make(tmp_path / "other", {"c": 2})
    file = root / "a" / "link.png"
    file.symlink_to(outside / "c" / "000.png")
    refuse(root, r"a/link\.png is a link that leads out of .*root, to .*other/c/000\.png; put a copy")
    file.unlink()
    file.symlink_to(root / "a" / "gone.png")
    refuse(root, r"link\.png is a link to .*gone\.png, which does not exist")
    file.unlink()
    (root / "c").symlink_to(outside / "c", target_is_directory=True)
    refuse(root, r"root/c is a link that leads out of")
    parts = make(tmp_path / "parts" / "test", {"a": 2, "b": 2}).parent
    (parts / "train").symlink_to(root, target_is_directory=True)
    refuse(parts, r"parts/train is a link that leads out of")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take away a folder's rights and give them back")
@pytest.mark.parametrize("place", ["", "a"])
def test_a_folder_that_may_not_be_read_is_refused(place: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = make(Path(name), {"a": 2, "b": 2})
        root.chmod(0o755)
        (root / place).chmod(0)
        os.seteuid(65_534)
        try:
            refuse(root, f"cannot read {root / place}: Permission denied")
        finally:
            os.seteuid(0)
            (root / place).chmod(0o755)


def test_unusable_files_are_counted_and_five_are_named(tmp_path: Path) -> None:
    make(tmp_path, {"a": 10, "b": 10})
    for index in range(7):
        (tmp_path / "a" / f"{index:03}.png").write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"^7 of 20 files cannot be used") as caught:
        read_folder(tmp_path)
    assert str(caught.value).count(".png") == 5
    assert "no image of a known format" in str(caught.value)


def test_progress_counts_every_image(tmp_path: Path) -> None:
    class Counter(Silent):
        def __init__(self) -> None:
            self.tasks: list[list] = []

        def begin(self, task: str, total: int, unit: str) -> None:
            self.tasks.append([task, total, 0])

        def advance(self, units: int) -> None:
            self.tasks[-1][2] += units

    counter = Counter()
    read_folder(make(tmp_path, {"a": 6, "b": 4}), reporter=counter)
    assert counter.tasks == [
        ["list image files", 0, 10],
        ["decode images", 10, 10],
        ["summarise pixels", 10, 10],
    ]


def test_gray_sets_have_one_channel_and_mixed_ones_three(tmp_path: Path) -> None:
    for name in "ab":
        for index, mode in enumerate(["L", "RGB", "P", "1"]):
            save(
                tmp_path / name / f"{index}.png",
                1 if mode in "1P" else 90 if mode == "L" else (90,) * 3,
                mode=mode,
            )
    gray = read_folder(tmp_path)
    assert gray.image_shape == (32, 32, 1)
    assert gray.train.images.flags.c_contiguous
    save(tmp_path / "a" / "colour.png", (90, 90, 91))
    assert read_folder(tmp_path).image_shape == (32, 32, 3)


# ---- the zoo


def pixel(path: Path | BytesIO, size: int = 8) -> list[int]:
    """The centre of the image, once read."""
    return read_pixels(path, size)[size // 2, size // 2].tolist()


def stored(image: Image.Image, kind: str, **options: object) -> BytesIO:
    file = BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return file


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF"])
def test_every_lossless_format(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    assert pixel(stored(Image.new("RGB", (20, 20), (255, 128, 0)), kind, **options)) == [255, 128, 0]


def test_modes_become_rgb() -> None:
    assert pixel(stored(Image.new("L", (9, 9), 77), "PNG")) == [77] * 3
    assert pixel(stored(Image.new("1", (9, 9), 1), "PNG")) == [255] * 3
    assert pixel(stored(Image.new("CMYK", (9, 9), (0, 255, 255, 0)), "TIFF")) == [255, 0, 0]
    cmyk = pixel(stored(Image.new("CMYK", (9, 9), (0, 255, 255, 0)), "JPEG", quality=95))
    np.testing.assert_allclose(cmyk, [255, 0, 0], atol=3)
    jpeg = pixel(stored(Image.new("RGB", (9, 9), (200, 30, 60)), "JPEG", quality=95))
    np.testing.assert_allclose(jpeg, [200, 30, 60], atol=3)


def test_transparency_lies_on_white() -> None:
    assert pixel(stored(Image.new("RGBA", (9, 9), (255, 0, 0, 0)), "PNG")) == [255] * 3
    assert pixel(stored(Image.new("RGBA", (9, 9), (255, 0, 0, 255)), "PNG")) == [255, 0, 0]
    half = pixel(stored(Image.new("RGBA", (9, 9), (255, 0, 0, 128)), "PNG"))
    np.testing.assert_allclose(half, [255, 127, 127], atol=1)
    np.testing.assert_allclose(pixel(stored(Image.new("LA", (9, 9), (0, 51)), "PNG")), [204] * 3, atol=1)


def test_transparent_palette_entries_and_colours_lie_on_white() -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 0, 0, 255])
    image.paste(0, (0, 0, 8, 4))
    read = read_pixels(stored(image, "PNG", transparency=0), 8)
    assert read[1, 1].tolist() == [255, 255, 255]
    assert read[6, 1].tolist() == [0, 0, 255]
    as_bytes = read_pixels(stored(image, "PNG", transparency=b"\x00\xff"), 8)
    np.testing.assert_array_equal(as_bytes, read)
    key = stored(Image.new("RGB", (8, 8), RED), "PNG", transparency=RED)
    assert pixel(key) == [255] * 3


@pytest.mark.parametrize("value", [0, 128, 129, 257, 32_768, 65_406, 65_407, 65_535])
def test_16_bit_gray_is_scaled_with_rounding(value: int) -> None:
    image = Image.fromarray(np.full((9, 9), value, np.uint16))
    for kind in ("PNG", "TIFF"):
        assert pixel(stored(image, kind)) == [round(value / 257)] * 3


def test_16_bit_colour_keeps_the_upper_byte() -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    rows = b"".join(b"\x00" + struct.pack(">HHH", 0xFFFF, 0x80FF, 0x0001) * 8 for _ in range(8))
    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    png = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    assert pixel(BytesIO(png)) == [0xFF, 0x80, 0x00]


def test_ranges_that_nobody_knows_are_refused() -> None:
    with pytest.raises(DataError, match="floating-point"):
        pixel(stored(Image.new("F", (9, 9), 0.5), "TIFF"))
    with pytest.raises(DataError, match="beyond 16 bits"):
        pixel(stored(Image.fromarray(np.full((9, 9), 70_000, np.int32)), "TIFF"))
    with pytest.raises(DataError, match="beyond 16 bits"):
        pixel(stored(Image.fromarray(np.full((9, 9), -1, np.int32)), "TIFF"))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_of_several_frames_the_first_counts(kind: str) -> None:
    frames = [Image.new("RGB", (9, 9), colour) for colour in (GREEN, RED, BLUE)]
    options = {"lossless": True} if kind == "WEBP" else {}
    assert pixel(stored(frames[0], kind, save_all=True, append_images=frames[1:], **options)) == [*GREEN]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    # Red in the first corner of the upright image; stored the way each orientation undoes.
    upright = Image.new("RGB", (32, 32), BLUE)
    upright.paste(RED, (0, 0, 16, 16))
    t = Image.Transpose
    undo = [
        None,
        t.FLIP_LEFT_RIGHT,
        t.ROTATE_180,
        t.FLIP_TOP_BOTTOM,
        t.TRANSPOSE,
        t.ROTATE_90,
        t.TRANSVERSE,
        t.ROTATE_270,
    ][orientation - 1]
    image = upright if undo is None else upright.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    read = read_pixels(stored(image, "JPEG", exif=exif, quality=95), 32)
    corners = [read[4, 4], read[4, 28], read[28, 4], read[28, 28]]
    assert [corner[0] > 128 for corner in corners] == [True, False, False, False]


def test_the_centre_square_is_taken() -> None:
    wide = Image.new("RGB", (60, 20), RED)
    wide.paste(GREEN, (20, 0, 40, 20))
    assert (read_pixels(stored(wide, "PNG"), 16)[:, 1:-1] == GREEN).all()
    tall = wide.transpose(Image.Transpose.ROTATE_90)
    assert (read_pixels(stored(tall, "PNG"), 16)[1:-1] == GREEN).all()


def test_resizing_is_antialiased() -> None:
    board = np.zeros((64, 64), np.uint8)
    board[::2, ::2] = board[1::2, 1::2] = 255
    read = read_pixels(stored(Image.fromarray(board), "PNG"), 8)
    np.testing.assert_allclose(read[2:-2, 2:-2], 127.5, atol=2)


def test_an_image_of_the_right_size_is_not_touched() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    np.testing.assert_array_equal(read_pixels(stored(Image.fromarray(noise), "PNG"), 32), noise)


def test_the_content_counts_not_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(stored(Image.new("RGB", (9, 9), BLUE), "PNG").read())
    assert pixel(path) == [*BLUE]


def noise_jpeg() -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    return stored(Image.fromarray(noise), "JPEG").read()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims to be so large, and breaks off in its pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    ends = (
        struct.pack(">I", zlib.crc32(header)) + struct.pack(">I", 1_000) + b"IDAT" + zlib.compress(bytes(100))
    )
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + ends


BROKEN: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "text": lambda: b"hello, I am no image",
    "truncated JPEG": lambda: noise_jpeg()[:2000],
    "truncated PNG": lambda: stored(Image.open(BytesIO(noise_jpeg())), "PNG").read()[:3000],
    "truncated GIF": lambda: stored(Image.open(BytesIO(noise_jpeg())), "GIF").read()[:900],
    "truncated WebP": lambda: stored(Image.open(BytesIO(noise_jpeg())), "WEBP").read()[:500],
    "truncated TIFF": lambda: stored(Image.open(BytesIO(noise_jpeg())), "TIFF").read()[:500],
    "truncated BMP": lambda: stored(Image.open(BytesIO(noise_jpeg())), "BMP").read()[:500],
    "header only": lambda: png_header(32, 32),
    "no pixels": lambda: png_header(0, 32),
    "other format": lambda: stored(Image.new("RGB", (9, 9)), "ICO").read(),
    "PostScript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_damaged_and_foreign_files_are_refused_in_a_line(tmp_path: Path, kind: str) -> None:
    make(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "a" / "broken.png").write_bytes(BROKEN[kind]())
    refuse(tmp_path, r"^1 of 5 files cannot be used: .*broken\.png \(.+\)")


@pytest.mark.parametrize(
    ("width", "height"), [(5_001, 5_000), (10_000, 10_000), (30_000, 30_000), (2**31 - 1, 2**31 - 1)]
)
def test_more_than_25_megapixels_are_refused_unread(width: int, height: int) -> None:
    tracemalloc.start()
    start = time.thread_time()
    with pytest.raises(DataError, match="more than 25 megapixels"):
        pixel(BytesIO(png_header(width, height)))
    assert time.thread_time() - start < 0.1
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_a_large_jpeg_is_close_to_its_full_decoding() -> None:
    gradient = np.linspace(0, 255, 1600, dtype=np.uint8)
    image = Image.fromarray(np.stack([np.tile(gradient, (1200, 1))] * 3, axis=2))
    fast = read_pixels(stored(image, "JPEG", quality=95), 32)
    exact = read_pixels(stored(image, "PNG"), 32)
    np.testing.assert_allclose(fast.astype(int), exact.astype(int), atol=3)


@pytest.mark.parametrize("channels", [1, 3])
def test_arrays_are_resized_as_files_are(channels: int) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (3, 40, 50, channels), np.uint8)
    resized = resize_images(noise, 24)
    assert resized.shape == (3, 24, 24, channels)
    for before, after in zip(noise, resized, strict=True):
        file = stored(Image.fromarray(before.squeeze()), "PNG")
        np.testing.assert_array_equal(read_pixels(file, 24)[:, :, :channels], after)
