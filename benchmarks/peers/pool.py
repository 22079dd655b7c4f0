"""The images that everyone trains on: random bytes in the shape of CIFAR-10, and random labels.

Speed does not depend on what the images show. ToyNet reads the file as bytes, as its users' data is; the
others get what their users keep in memory, standardised float32.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

IMAGES = 6400
"""A whole number of batches of 128 and of 32; 79 MB as float32."""


def write(path: Path) -> None:
    """Write the pool as a NumPy file of the kind that `--data npz:PATH` reads."""
    generator = np.random.default_rng(2021)
    images = generator.integers(0, 256, (IMAGES, 32, 32, 3), dtype=np.uint8)
    labels = generator.integers(0, 10, IMAGES)
    np.savez(path, x_train=images, y_train=labels, x_test=images[:10], y_test=labels[:10])


def standardised(path: Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Images (N, 32, 32, 3) with mean 0 and deviation 1 per channel, and labels (N,)."""
    with np.load(path) as file:
        images, labels = file["x_train"].astype(np.float32), file["y_train"]
    return (images - images.mean(axis=(0, 1, 2))) / images.std(axis=(0, 1, 2)), labels


def portion(steps: int, batch_size: int) -> tuple[int, int]:
    """Images of an epoch and number of epochs that make about `steps` steps."""
    wanted = steps * batch_size
    return (wanted, 1) if wanted <= IMAGES else (IMAGES, round(wanted / IMAGES))
