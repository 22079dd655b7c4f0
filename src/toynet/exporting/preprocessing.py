"""What happens to a picture before the network sees it, in words and as a table."""

from typing import Any

from toynet.exporting.origin import Origin

RESIZE_RULE = "the largest part in the middle of that shape, resized (bilinear, antialiased)"


def in_words(origin: Origin) -> str:
    """One sentence from picture to network."""
    height, width, channels = origin.card.image_shape
    colours = "RGB" if channels == 3 else "grey"
    return (
        f"{colours} picture, {RESIZE_RULE}: {height}x{width} pixels of 0..255; "
        "then (pixel - mean) / std for each channel"
    )


def table(origin: Origin) -> dict[str, Any]:
    """The same for a program: `preprocessing.json`."""
    height, width, channels = origin.card.image_shape
    return {
        "size": [height, width],
        "channels": "RGB" if channels == 3 else "grey",
        "resize": RESIZE_RULE,
        "scale": "0..255",
        "mean": list(origin.card.mean),
        "std": list(origin.card.std),
        "formula": "(pixel - mean) / std",
        "layout": "NCHW float32",
        "classes": list(origin.card.classes),
        "temperature": origin.temperature,
    }
