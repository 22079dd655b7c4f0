"""An image file of any origin, as pixels: what is opened, what is refused, how modes become 8-bit RGB.

- Formats: JPEG, PNG, WebP, BMP, GIF, TIFF, PPM, told by content, whatever the file is called. No other
  decoder of Pillow is reached.
- More than 25 megapixels are refused from the header, unread.
- EXIF orientation is applied; ICC profiles are not. Of several frames the first counts.
- Transparency lies on white (that of 16-bit gray is ignored). Palette, CMYK and YCbCr become RGB.
- 16-bit gray is scaled to 8 bits with rounding; of 16-bit colour Pillow keeps the upper byte. Floating-point
  pixels and integers beyond 16 bits are refused: their range is unknown.
- The largest part in the middle that has the shape asked for is resized, antialiased (bilinear). A large JPEG
  is decoded at a fraction of its resolution that is at least twice that shape.
"""

import threading
import warnings
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from toynet.core.errors import DataError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
LARGEST_PIXELS = 25_000_000

_header_lock = threading.Lock()


Shape = int | tuple[int, int]
"""Height and width; one number for both."""


def read_pixels(source: Path | IO[bytes], size: Shape) -> NDArray[np.uint8]:
    """Pixels (H, W, 3) of an image file; raises `DataError` with the reason, not naming `source`."""
    height, width = _sides(size)
    try:
        with _open(source) as image:
            if image.width * image.height > LARGEST_PIXELS:
                raise DataError(f"{image.width}x{image.height} pixels, more than 25 megapixels")
            image.draft(None, (2 * width, 2 * height))
            return picture_pixels(image, size)
    except DataError:
        raise
    except Exception as error:  # a damaged file can make a decoder fail in any way
        raise DataError(_reason(error)) from error


def picture_pixels(image: Image.Image, size: Shape) -> NDArray[np.uint8]:
    """Pixels (H, W, 3) of a picture in memory, by the rules for files. Raises `DataError` for odd modes."""
    return np.asarray(_on_white(_fitted(_eight_bit(image), size)))


def resize_images(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Bring images (N, H, W, 1 or 3) to (N, size, size, C) by the same crop and filter as files."""
    if images.shape[1:3] == (size, size):
        return images
    resized = np.empty((len(images), size, size, images.shape[3]), np.uint8)
    for index, image in enumerate(images):
        picture = Image.fromarray(image if image.shape[2] == 3 else image[:, :, 0])
        resized[index] = np.asarray(_fitted(picture, size)).reshape(size, size, -1)
    return resized


def _open(source: Path | IO[bytes]) -> Image.Image:
    # Pillow warns of large images; ours is the stricter limit, and it is an error. Filters of warnings belong
    # to the whole process, hence the lock.
    with _header_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(source, formats=FORMATS)


def _eight_bit(image: Image.Image) -> Image.Image:
    """`image` upright, in mode L, RGB or RGBA."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):
        values = np.asarray(upright).astype(np.int64)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise DataError("integer pixels beyond 16 bits")
        return Image.fromarray(((values * 255 + 0x7FFF) // 0xFFFF).astype(np.uint8))
    if upright.mode == "F":
        raise DataError("floating-point pixels; save it with 8 or 16 bits")
    if upright.has_transparency_data:
        return upright.convert("RGBA")
    return upright if upright.mode in ("L", "RGB") else upright.convert("RGB")


def _fitted(image: Image.Image, size: Shape) -> Image.Image:
    height, width = _sides(size)
    tall = min(image.height, max(1, image.width * height // width))
    wide = min(image.width, max(1, image.height * width // height))
    left, top = (image.width - wide) // 2, (image.height - tall) // 2
    box = (left, top, left + wide, top + tall)
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box)


def _sides(size: Shape) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _reason(error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return "more than 25 megapixels"
    if isinstance(error, UnidentifiedImageError):
        return "no image of a known format"
    return " ".join(str(error).split()) or type(error).__name__
