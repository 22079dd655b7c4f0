"""The built-in data set: digits in the fonts that matplotlib ships, made hard; no download.

Each image is a digit of random font, colour, place, size, slant and rotation on a textured ground, with
pieces of other digits at the edges, blurred and noised. Light on dark and dark on light are about equally
frequent and the texture is almost as strong as the contrast, so single pixels say little.

Left and right matter, so a horizontal flip is the wrong augmentation here: mirrored digits take strokes
from others (2 and 5), and in a share of the images two whole digits stand side by side, of which the left
one counts, as in reading.

All arithmetic is Pillow's or plain IEEE sums and products, without transcendental functions or matrix
products, and all draws come from named streams: the same Pillow gives the same pixels on every machine.
"""

import functools
import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from toynet.core.errors import DataError, UsageError
from toynet.core.seeds import stream
from toynet.data.images import Dataset, ImageSet

SIDE_PX = 32
CLASSES = tuple("0123456789")
DEFAULT_COUNT = 12_000
SMALLEST_COUNT = 60
"""Below this a class would be missing from the test part."""

FONTS = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique",
    "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique",
    "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic",
    "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta",
)  # fmt: skip

_BLOCK = 250
_MASK_PX = 64
_FONT_PX = 54
"""Digits in a mask are about 40 pixels high, twice as high as in an image: bilinear sampling is enough."""

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_LEAST_CONTRAST = 60.0
"""Smallest difference in luma (0..255) between a digit and the mean of its ground."""

_CROWDED = 0.12
"""Share of images with a second whole digit, to the right of the one that counts."""

Floats = NDArray[np.float32]
Places = NDArray[np.float64]


def glyphs(count: int = DEFAULT_COUNT, seed: int = 0) -> Dataset:
    """`count` images (32, 32, 3) of the digits 0 to 9: five sixths train, the rest test, classes balanced.

    A pure function of `count` and `seed`. Raises `UsageError` for fewer than 60 images and `DataError`
    where matplotlib's fonts are not installed.
    """
    if count < SMALLEST_COUNT:
        raise UsageError(f"glyphs: count must be at least {SMALLEST_COUNT}, not {count}")
    test = count // 6
    name = "glyphs" if count == DEFAULT_COUNT else f"glyphs:{count}"
    return Dataset(name, _part(count - test, seed, "train"), _part(test, seed, "test"))


def _part(count: int, seed: int, part: str) -> ImageSet:
    images = np.empty((count, SIDE_PX, SIDE_PX, 3), np.uint8)
    labels = np.empty(count, np.int64)
    for start in range(0, count, _BLOCK):
        stop = min(start + _BLOCK, count)
        draw = stream(seed, "glyphs", part, start)
        labels[start:stop] = draw.permutation(np.arange(start, stop) % len(CLASSES))
        images[start:stop] = _render(labels[start:stop], draw)
    return ImageSet(images, labels, CLASSES)


def _render(labels: NDArray[np.int64], draw: np.random.Generator) -> NDArray[np.uint8]:
    """One block of images (N, 32, 32, 3) for `labels` (N,)."""
    count = len(labels)
    ground, ink, contrast = _colours(count, draw)
    canvas = ground + _texture(count, draw) * contrast * _uniform(draw, 0.2, 0.85, count)
    middle, neighbours = _layout(count, draw)
    for shown, where in neighbours:
        others = (labels + draw.integers(1, len(CLASSES), count)) % len(CLASSES)
        same_ink = draw.random((count, 1, 1, 1)) < 0.7
        cover = _digits(others, where, draw, shown)
        canvas += cover * (np.where(same_ink, ink, np.roll(ink, 1, axis=0)) - canvas)
    canvas += _digits(labels, middle, draw, np.ones(count, np.bool_)) * (ink - canvas)
    canvas = _blurred(canvas, _uniform(draw, 0.0, 0.3, count))
    noise = draw.random(canvas.shape, np.float32) + draw.random(canvas.shape, np.float32) - 1
    canvas += noise * _uniform(draw, 5, 65, count)
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8)


def _uniform(draw: np.random.Generator, low: float, high: float, count: int) -> Floats:
    """One draw an image, ready to multiply images with: (N, 1, 1, 1)."""
    return draw.uniform(low, high, (count, 1, 1, 1)).astype(np.float32)


def _layout(count: int, draw: np.random.Generator) -> tuple[Places, list[tuple[NDArray[np.bool_], Places]]]:
    """Where the digit stands, and the two neighbours' presence (N,) and places, in pixels from the middle.

    Neighbours stand on the rim, cut by it. In a crowded image the first is whole and to the right: it and
    the digit are then equally far from the middle, and only their order tells which of them counts.
    """
    middle = draw.uniform(-3.5, 3.5, (count, 2))
    crowded = draw.random(count) < _CROWDED
    gap = draw.uniform(12, 15, count)
    middle[:, 0] = np.where(crowded, middle[:, 0] * 0.4 - gap / 2, middle[:, 0])
    right = middle + np.stack([gap, draw.uniform(-2, 2, count)], axis=1)
    first = np.where(crowded[:, None], right, _rim(count, draw))
    return middle, [
        (crowded | (draw.random(count) < 0.75), first),
        (draw.random(count) < 0.6, _rim(count, draw)),
    ]


def _rim(count: int, draw: np.random.Generator) -> Places:
    """Places (N, 2) whose digits the rim cuts, left and right more often than above and below."""
    out = draw.uniform(14, 18, count) * (2 * draw.integers(0, 2, count) - 1)
    along = draw.uniform(-16, 16, count)
    beside = draw.random((count, 1)) < 0.7
    return np.where(beside, np.stack([out, along], axis=1), np.stack([along, out], axis=1))


def _colours(count: int, draw: np.random.Generator) -> tuple[Floats, Floats, Floats]:
    """Ground and digit colours (N, 1, 1, 3) and their contrast in luma (N, 1, 1, 1).

    The first of eight random digit colours that contrasts enough; else black or white.
    """
    ground = draw.uniform(30, 225, (count, 1, 3)).astype(np.float32)
    tries = draw.uniform(0, 255, (count, 8, 3)).astype(np.float32)
    last = np.where(_luma(ground) > 127.5, 0.0, 255.0).astype(np.float32)[..., None]
    tries = np.concatenate([tries, np.broadcast_to(last, (count, 1, 3))], axis=1)
    gaps = np.abs(_luma(tries) - _luma(ground))
    chosen = (gaps >= _LEAST_CONTRAST).argmax(axis=1)
    rows = np.arange(count)
    return ground[:, None], tries[rows, chosen][:, None, None], gaps[rows, chosen][:, None, None, None]


def _luma(colours: Floats) -> Floats:
    weighted = colours * _LUMA
    return np.asarray(weighted[..., 0] + weighted[..., 1] + weighted[..., 2])


def _texture(count: int, draw: np.random.Generator) -> Floats:
    """Gradients, soft blotches and stripes in -1..1, mixed by chance: (N, 32, 32, 3)."""
    axis = np.linspace(-1, 1, SIDE_PX, dtype=np.float32)
    slope = draw.uniform(-0.7, 0.7, (2, count, 1, 1)).astype(np.float32)
    gradient = slope[0] * axis + slope[1] * axis[:, None]
    pace = draw.uniform(-3.5, 3.5, (2, count, 1, 1)).astype(np.float32)
    phase = draw.random((count, 1, 1), np.float32)
    stripes = 4 * np.abs((pace[0] * axis + pace[1] * axis[:, None] + phase) % 1 - 0.5) - 1
    blotches = np.empty((count, SIDE_PX, SIDE_PX, 3), np.uint8)
    for image, grid in zip(blotches, draw.integers(0, 256, (count, 5, 5, 3), np.uint8), strict=True):
        image[:] = np.asarray(Image.fromarray(grid).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC))
    tint = draw.uniform(0.4, 1, (2, count, 1, 1, 3)).astype(np.float32)
    share = draw.random((3, count, 1, 1, 1), np.float32) ** 3
    share /= share[0] + share[1] + share[2]
    texture: Floats = share[0] * tint[0] * gradient[..., None]
    texture += share[1] * tint[1] * stripes[..., None]
    texture += share[2] * (blotches / np.float32(127.5) - 1)
    return texture


def _digits(
    digits: NDArray[np.int64], where: Places, draw: np.random.Generator, shown: NDArray[np.bool_]
) -> Floats:
    """Coverage in 0..1 of jittered `digits` (N,) centred at `where` (N, 2): (N, 32, 32, 1).

    Those that are not `shown` (N,) cover nothing.
    """
    count = len(digits)
    half_turn = draw.uniform(-0.25, 0.25, count)  # the tangent of half the angle: up to 28 degrees
    cos = (1 - half_turn**2) / (1 + half_turn**2)
    sin = 2 * half_turn / (1 + half_turn**2)
    shear = draw.uniform(-0.4, 0.4, count)
    height = draw.uniform(0.36, 0.62, count)
    width = height * draw.uniform(0.75, 1.2, count)
    middle = SIDE_PX / 2 + where
    a, b = (cos - shear * sin) / width, (sin + shear * cos) / width
    d, e = -sin / height, cos / height
    c = _MASK_PX / 2 - a * middle[:, 0] - b * middle[:, 1]
    f = _MASK_PX / 2 - d * middle[:, 0] - e * middle[:, 1]
    fonts = draw.integers(0, len(FONTS), count)
    cover = np.zeros((count, SIDE_PX, SIDE_PX), np.uint8)
    matrices = np.stack([a, b, c, d, e, f], axis=1).tolist()
    for row in np.flatnonzero(shown):
        mask = _masks()[fonts[row]][digits[row]]
        cover[row] = mask.transform(
            (SIDE_PX, SIDE_PX), Image.Transform.AFFINE, matrices[row], Image.Resampling.BILINEAR
        )
    return cover[..., None].astype(np.float32) / np.float32(255)


@functools.cache
def _masks() -> tuple[tuple[Image.Image, ...], ...]:
    """Every digit in every font, as coverage in the middle of a square of 64 pixels."""
    return tuple(tuple(_mask(path, digit) for digit in CLASSES) for path in _font_files())


def _mask(path: Path, digit: str) -> Image.Image:
    font = ImageFont.truetype(path, _FONT_PX, layout_engine=ImageFont.Layout.BASIC)
    image = Image.new("L", (_MASK_PX, _MASK_PX))
    ImageDraw.Draw(image).text((_MASK_PX / 2, _MASK_PX / 2), digit, fill=255, font=font, anchor="mm")
    ink = image.getbbox()
    assert ink is not None
    centred = Image.new("L", image.size)
    piece = image.crop(ink)
    centred.paste(piece, ((_MASK_PX - piece.width) // 2, (_MASK_PX - piece.height) // 2))
    return centred


def _font_files() -> list[Path]:
    """matplotlib's copies of `FONTS`, found without importing it."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            "glyphs: its fonts come with matplotlib, which is not installed; pip install matplotlib"
        )
    folder = Path(spec.submodule_search_locations[0], "mpl-data", "fonts", "ttf")
    files = [folder / f"{name}.ttf" for name in FONTS]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise DataError(f"glyphs: font {missing[0]} is missing; reinstall matplotlib")
    return files


def _blurred(images: Floats, weight: Floats) -> Floats:
    """Three-tap blur along both sides; `weight` (N, 1, 1, 1) is each neighbour's, at most a third."""
    for side in (1, 2):
        pad = [(0, 0)] * 4
        pad[side] = (1, 1)
        padded = np.pad(images, pad, mode="edge")
        before = np.take(padded, range(SIDE_PX), side)
        after = np.take(padded, range(2, SIDE_PX + 2), side)
        images = images + weight * (before + after - 2 * images)
    return images
