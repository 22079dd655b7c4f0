"""CIFAR-10 as image files: python benchmarks/cifar_files.py FOLDER --each 500 [--uneven 10] [--format png]

Writes FOLDER/train/CLASS/NUMBER.jpg and FOLDER/test/CLASS/NUMBER.jpg from the CIFAR-10 in $TOYNET_DATA: the
first `--each` training images of each class and two fifths as many test images. With `--uneven N` every
other class has N times fewer training images.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from toynet.data.sources import load
from toynet.data.spec import DataSpec


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--each", type=int, default=5000, help="Training images of a class.")
    parser.add_argument("--uneven", type=int, default=1, help="Divide those of every other class by this.")
    parser.add_argument("--format", choices=("jpg", "png"), default="jpg")
    wanted = parser.parse_args()
    data = load(DataSpec(name="cifar10"))
    for label, name in enumerate(data.classes):
        train = wanted.each // (wanted.uneven if label % 2 else 1)
        for part, images, count in (("train", data.train, train), ("test", data.test, wanted.each * 2 // 5)):
            folder = wanted.folder / part / name
            folder.mkdir(parents=True)
            for row in np.flatnonzero(images.labels == label)[:count]:
                path = folder / f"{row:05}.{wanted.format}"
                Image.fromarray(images.images[row]).save(path, quality=95)


if __name__ == "__main__":
    main()
