"""Pictures that a tiny model learns to tell apart in seconds; one class is called like an attack."""

import io

import numpy as np
from PIL import Image

HOSTILE = "<img src=x onerror=alert(1)>"
_SHADES = {"red": (200, 40, 40), "blue": (40, 40, 200)}


def picture(shade: str, *, seed: int = 0, side: int = 32) -> Image.Image:
    """All of one colour, with noise."""
    noise = np.random.default_rng(seed).integers(-30, 30, (side, side, 3))
    return Image.fromarray((np.array(_SHADES[shade]) + noise).clip(0, 255).astype(np.uint8))


def encoded(shade: str, kind: str = "png", *, side: int = 64) -> bytes:
    """A file's content."""
    content = io.BytesIO()
    picture(shade, side=side).save(content, kind)
    return content.getvalue()
