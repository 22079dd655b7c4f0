"""How many changed copies of CIFAR-10's training images `toynet data copies` finds, by kind of change.

python benchmarks/near_copies.py > results/near-copies.json        (CIFAR-10 in $TOYNET_DATA; 3 minutes)

Counts the test images that have their like in train. Then takes 400 training images at random, changes each
in every way below, and looks for the results among all 50,000.
"""

import io
import json
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from toynet.core.environment import describe
from toynet.core.reporter import Silent
from toynet.data.images import ImageSet
from toynet.data.near_copies import LIKENESS, near_copies
from toynet.data.sources import load
from toynet.data.spec import DataSpec

COUNT = 400
DRAWS = np.random.default_rng(0)

Picture = Image.Image


def shifted(image: Picture, right: int, down: int) -> Picture:
    """Pixels that come in repeat the border."""
    padded = np.pad(np.asarray(image), ((5, 5), (5, 5), (0, 0)), mode="edge")
    return Image.fromarray(padded[5 - down : 37 - down, 5 - right : 37 - right])


def cropped(image: Picture, part: float) -> Picture:
    """A square of that share of the side, anywhere, brought to the whole size."""
    left, top = DRAWS.random(2) * 32 * (1 - part)
    return image.resize(image.size, Image.Resampling.BICUBIC, (left, top, left + 32 * part, top + 32 * part))


def jpeg(image: Picture, quality: int) -> Picture:
    content = io.BytesIO()
    image.save(content, "jpeg", quality=quality)
    return Image.open(content).convert("RGB")


def tinted(image: Picture) -> Picture:
    return Image.fromarray((np.asarray(image) * np.array([0.7, 1.0, 0.85])).astype(np.uint8))


CHANGES: dict[str, Callable[[Picture], Picture]] = {
    "none": lambda image: image,
    "mirrored": ImageOps.mirror,
    "shifted by 2 and 1 pixels": lambda image: shifted(image, 2, -1),
    "shifted by 3 and 3 pixels": lambda image: shifted(image, 3, 3),
    "shifted by 5 and 5 pixels": lambda image: shifted(image, -5, 5),
    "cropped to 0.95 of the side": lambda image: cropped(image, 0.95),
    "cropped to 0.9": lambda image: cropped(image, 0.9),
    "cropped to 0.85": lambda image: cropped(image, 0.85),
    "cropped to 0.8": lambda image: cropped(image, 0.8),
    "cropped to 0.9 and mirrored": lambda image: ImageOps.mirror(cropped(image, 0.9)),
    "turned by 5 degrees": lambda image: image.rotate(5, Image.Resampling.BICUBIC),
    "gray": lambda image: image.convert("L").convert("RGB"),
    "half the contrast": lambda image: ImageEnhance.Contrast(image).enhance(0.5),
    "1.4 times as bright": lambda image: ImageEnhance.Brightness(image).enhance(1.4),
    "tinted": tinted,
    "blurred by 1 pixel": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "JPEG of quality 40": lambda image: jpeg(image, 40),
}


def main() -> None:
    dataset = load(DataSpec(name="cifar10"), None, Silent())
    train = dataset.train
    among_test = near_copies(dataset.test, train)
    origins = DRAWS.choice(len(train), COUNT, replace=False)
    changed = [
        np.asarray(change(Image.fromarray(train.images[origin])))
        for change in CHANGES.values()
        for origin in origins
    ]
    labels = np.tile(train.labels[origins], len(CHANGES))
    found = near_copies(ImageSet(np.stack(changed), labels, train.classes), train)
    match = np.full(len(changed), -1)
    for copy in found:
        match[copy.judged] = copy.trained
    recall = {}
    edges = range(0, len(changed) + 1, COUNT)
    for name, (first, last) in zip(CHANGES, pairwise(edges), strict=True):
        right = match[first:last] == origins
        other = (match[first:last] >= 0) & ~right
        recall[name] = {"origin found": float(right.mean()), "another image likelier": float(other.mean())}
    print(
        json.dumps(
            {
                "command": "python benchmarks/near_copies.py",
                "machine": describe(),
                "least likeness": LIKENESS,
                "test images with their like in train": {
                    f"{least:g}": sum(copy.likeness >= least for copy in among_test)
                    for least in (LIKENESS, 0.9, 0.95)
                },
                "images of each change": COUNT,
                "among": len(train),
                "found": recall,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
