"""Sixty odd files and more: each becomes the pixels that data/pixels.py documents, or is refused by name."""

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toynet.core.errors import DataError
from toynet.data.folder import read_folder
from toynet.data.pixels import read_pixels

SIZE = 16
RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)
Pixel = tuple[int, int, int]


def stored(image: Image.Image, kind: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def plain(mode: str, colour: object, kind: str = "PNG", size: int = 20, **options: object) -> bytes:
    return stored(Image.new(mode, (size, size), colour), kind, **options)


def palette(**options: object) -> bytes:
    image = Image.new("P", (20, 20), 3)
    image.putpalette([0, 0, 0] * 3 + [*RED])
    return stored(image, "PNG", **options)


def frames(kind: str, **options: object) -> bytes:
    first, *others = (Image.new("RGB", (20, 20), colour) for colour in (RED, GREEN, WHITE))
    return stored(first, kind, save_all=True, append_images=others, **options)


def rotated() -> bytes:
    """Lying on its side: upright, the upper half is red."""
    upright = Image.new("RGB", (32, 32), GREEN)
    upright.paste(RED, (0, 0, 32, 16))
    exif = Image.Exif()
    exif[0x0112] = 6
    return stored(upright.transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, depth: int, colour: int, row: bytes, *extra: bytes) -> bytes:
    """A PNG by hand, in depths that Pillow does not write; `row` without its filter byte."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress((b"\0" + row) * height))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + body + chunk(b"IEND", b"")


def gray16(value: int) -> bytes:
    return stored(Image.fromarray(np.full((20, 20), value, np.uint16)), "PNG")


def noise(kind: str = "PNG", **options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    return stored(Image.fromarray(pixels), kind, **options)


def flipped_byte(content: bytes, at: float) -> bytes:
    place = int(len(content) * at)
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


READ: dict[str, tuple[Callable[[], bytes], Pixel]] = {
    "RGB JPEG": (lambda: plain("RGB", RED, "JPEG", quality=100), RED),
    "progressive JPEG": (lambda: plain("RGB", RED, "JPEG", quality=100, progressive=True), RED),
    "JPEG without chroma subsampling": (lambda: plain("RGB", RED, "JPEG", quality=100, subsampling=0), RED),
    "gray JPEG": (lambda: plain("L", 90, "JPEG", quality=100), (90, 90, 90)),
    "CMYK JPEG": (lambda: plain("CMYK", (0, 255, 255, 0), "JPEG", quality=100), RED),
    "JPEG with a thumbnail and a comment": (
        lambda: plain("RGB", RED, "JPEG", quality=100, comment=b"hello" * 99),
        RED,
    ),
    "JPEG with bytes after its end": (lambda: plain("RGB", RED, "JPEG", quality=100) + b"GIF89a" * 9, RED),
    "MPO of two pictures": (lambda: frames("MPO", quality=100), RED),
    "RGB PNG": (lambda: plain("RGB", RED), RED),
    "RGBA PNG, opaque": (lambda: plain("RGBA", (*RED, 255)), RED),
    "RGBA PNG, empty": (lambda: plain("RGBA", (*RED, 0)), WHITE),
    "LA PNG": (lambda: plain("LA", (0, 51)), (204, 204, 204)),
    "L PNG": (lambda: plain("L", 77), (77, 77, 77)),
    "1-bit PNG": (lambda: plain("1", 1), WHITE),
    "2-bit gray PNG": (lambda: png(20, 20, 2, 0, b"\xaa" * 5), (170, 170, 170)),
    "4-bit gray PNG": (lambda: png(20, 20, 4, 0, b"\x33" * 10), (51, 51, 51)),
    "palette PNG": (palette, RED),
    "palette PNG, transparent entry": (lambda: palette(transparency=3), WHITE),
    "palette PNG, transparency as bytes": (lambda: palette(transparency=b"\xff\xff\xff\x00"), WHITE),
    "RGB PNG with a transparent colour": (lambda: plain("RGB", RED, transparency=RED), WHITE),
    "16-bit gray PNG": (lambda: gray16(257 * 90), (90, 90, 90)),
    "16-bit gray PNG, white": (lambda: gray16(65_535), WHITE),
    "16-bit gray PNG with a transparent gray": (
        lambda: png(20, 20, 16, 0, b"\x5a\x5a" * 20, chunk(b"tRNS", b"\x5a\x5a")),
        (90, 90, 90),
    ),
    "16-bit RGB PNG": (lambda: png(20, 20, 16, 2, struct.pack(">HHH", 0xFFFF, 0, 0x00FF) * 20), RED),
    "16-bit RGBA PNG": (lambda: png(20, 20, 16, 6, struct.pack(">HHHH", 0xFFFF, 0, 0, 0) * 20), WHITE),
    "16-bit gray PNG with alpha": (lambda: png(20, 20, 16, 4, struct.pack(">HH", 0, 0) * 20), WHITE),
    "PNG with a gamma and a colour profile": (
        lambda: plain("RGB", RED, icc_profile=b"no profile at all"),
        RED,
    ),
    "PNG with bytes after its end": (lambda: plain("RGB", RED) + b"<script>", RED),
    "animated PNG": (lambda: frames("PNG"), RED),
    "animated GIF": (lambda: frames("GIF"), RED),
    "transparent GIF": (lambda: plain("P", 0, "GIF", transparency=0), WHITE),
    "animated WebP": (lambda: frames("WEBP", lossless=True), RED),
    "lossless WebP": (lambda: plain("RGB", RED, "WEBP", lossless=True), RED),
    "WebP with alpha": (lambda: plain("RGBA", (*RED, 0), "WEBP", lossless=True), WHITE),
    "BMP": (lambda: plain("RGB", RED, "BMP"), RED),
    "1-bit BMP": (lambda: plain("1", 1, "BMP"), WHITE),
    "TIFF of several pages": (lambda: frames("TIFF"), RED),
    "LZW TIFF": (lambda: plain("RGB", RED, "TIFF", compression="tiff_lzw"), RED),
    "CMYK TIFF": (lambda: plain("CMYK", (0, 255, 255, 0), "TIFF"), RED),
    "16-bit TIFF": (
        lambda: stored(Image.fromarray(np.full((20, 20), 257 * 90, np.uint16)), "TIFF"),
        (90, 90, 90),
    ),
    "LAB TIFF": (lambda: plain("LAB", (255, 128, 128), "TIFF"), WHITE),
    "YCbCr TIFF": (lambda: plain("YCbCr", (76, 85, 255), "TIFF"), (254, 0, 0)),
    "PPM": (lambda: plain("RGB", RED, "PPM"), RED),
    "PGM of 16 bits": (lambda: b"P5 20 20 65535\n" + b"\x5a\x5a" * 400, (90, 90, 90)),
    "PBM as text": (lambda: b"P1 20 20\n" + b"0 " * 400, WHITE),
    "on its side by EXIF": (rotated, RED),
    "one pixel": (lambda: plain("RGB", RED, size=1), RED),
    "a line of 1 by 5000": (lambda: stored(Image.new("RGB", (5000, 1), RED), "PNG"), RED),
}
"""What a pixel in the middle of the upper half becomes."""

REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "0 bytes": (lambda: b"", "no image of a known format"),
    "1 byte": (lambda: b"\xff", "no image of a known format"),
    "text": (lambda: b"hello", "no image of a known format"),
    "SVG in disguise": (
        lambda: b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        "no image of a known format",
    ),
    "HTML in disguise": (
        lambda: b"<!doctype html><img src=x onerror=alert(1)>",
        "no image of a known format",
    ),
    "PDF": (lambda: plain("RGB", RED, "PDF"), "no image of a known format"),
    "EPS": (lambda: plain("RGB", RED, "EPS"), "no image of a known format"),
    "ICO": (lambda: plain("RGB", RED, "ICO"), "no image of a known format"),
    "TGA": (lambda: plain("RGB", RED, "TGA"), "no image of a known format"),
    "JPEG 2000": (lambda: b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(99), "no image of a known format"),
    "zip": (lambda: b"PK\x03\x04" + bytes(99), "no image of a known format"),
    "truncated JPEG": (lambda: noise("JPEG")[:2000], "truncated"),
    "JPEG header alone": (lambda: noise("JPEG")[:25], ".+"),
    "truncated PNG": (lambda: noise()[:3000], "truncated"),
    "PNG without pixels": (lambda: png(20, 20, 8, 2, b"")[:45], ".+"),
    "PNG with a wrong checksum": (lambda: flipped_byte(png(20, 20, 8, 2, bytes(60)), 0.4), ".+"),
    "PNG of no width": (lambda: png(0, 20, 8, 2, b""), ".+"),
    "truncated GIF": (lambda: noise("GIF")[:900], ".+"),
    "truncated WebP": (lambda: noise("WEBP")[:500], ".+"),
    "truncated TIFF": (lambda: noise("TIFF")[:500], ".+"),
    "truncated BMP": (lambda: noise("BMP")[:500], ".+"),
    "truncated PPM": (lambda: noise("PPM")[:500], ".+"),
    "floating-point TIFF": (lambda: plain("F", 0.5, "TIFF"), "floating-point"),
    "32-bit TIFF": (
        lambda: stored(Image.fromarray(np.full((20, 20), 70_000, np.int32)), "TIFF"),
        "beyond 16 bits",
    ),
    "PNG bomb of 30,000 x 30,000": (lambda: png(30_000, 30_000, 8, 2, b"")[:60], "more than 25 megapixels"),
    "GIF bomb": (lambda: b"GIF89a" + struct.pack("<HH", 60_000, 60_000) + bytes(30), ".+"),
    "BMP bomb": (
        lambda: (
            b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 30_000, 30_000, 1, 24, 0, 0, 0, 0, 0, 0)
        ),
        "more than 25 megapixels",
    ),
    "PPM bomb": (lambda: b"P6 30000 30000 255\n", "more than 25 megapixels"),
    "one line too long": (lambda: png(25_000_001, 1, 8, 0, b"")[:60], "more than 25 megapixels"),
}


def test_there_are_sixty_and_more() -> None:
    assert len(READ) + len(REFUSED) >= 60


@pytest.mark.parametrize("kind", READ)
def test_odd_files_become_what_is_documented(kind: str) -> None:
    make, expected = READ[kind]
    pixels = read_pixels(BytesIO(make()), SIZE)
    assert (pixels.shape, pixels.dtype) == ((SIZE, SIZE, 3), np.uint8)
    lossy = 3 if any(word in kind for word in ("JPEG", "MPO", "YCbCr", "LAB")) else 0
    np.testing.assert_allclose(pixels[SIZE // 4, SIZE // 2].astype(int), expected, atol=lossy)


@pytest.mark.parametrize("kind", REFUSED)
def test_other_odd_files_are_refused_with_a_reason(kind: str) -> None:
    make, reason = REFUSED[kind]
    with pytest.raises(DataError, match=reason) as caught:
        read_pixels(BytesIO(make()), SIZE)
    assert str(caught.value).isprintable()


def test_in_a_folder_every_refused_file_counts_whatever_its_name_says(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    for number, (make, _) in enumerate(READ.values()):
        (tmp_path / "a" / f"{number}.jpg").write_bytes(make())
        (tmp_path / "b" / f"{number}.webp").write_bytes(make())
    data = read_folder(tmp_path)
    assert len(data.train) + len(data.test) == 2 * len(READ)
    for number, (make, _) in enumerate(REFUSED.values()):
        (tmp_path / "a" / f"wrong-{number:02}.png").write_bytes(make())
    with pytest.raises(DataError) as caught:
        read_folder(tmp_path)
    total = 2 * len(READ) + len(REFUSED)
    assert str(caught.value).startswith(f"{len(REFUSED)} of {total} files cannot be used: ")
    assert [f"wrong-{number:02}.png" in str(caught.value) for number in range(6)] == [True] * 5 + [False]


BOMBS = [name for name in REFUSED if "bomb" in name or "too long" in name]

IN_A_PROCESS = """
import re, sys, time
from io import BytesIO
from toynet.core.errors import DataError
from toynet.data.pixels import read_pixels

# Not ru_maxrss: a process that was started by a larger one begins with the peak of that.
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
content = sys.stdin.buffer.read()
started = time.process_time()
try:
    read_pixels(BytesIO(content), 32)
except DataError:
    print(time.process_time() - started, peak())
"""


@pytest.mark.parametrize("kind", BOMBS)
def test_bombs_cost_next_to_nothing(kind: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS], input=REFUSED[kind][0](), capture_output=True, check=True
    )
    seconds, peak_mib = map(float, run.stdout.split())
    assert seconds < 0.1
    assert peak_mib < 200
