"""The affine against Keras' `ImageDataGenerator`, which the report used; crops against plain indexing."""

import numpy as np
import torch
from keras.src.legacy.preprocessing.image import ImageDataGenerator
from scipy import ndimage

from toynet.augment.geometry import affine, crop_flip


def to_batch(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def images(count: int, height: int = 32, width: int = 32) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (count, height, width, 3)).astype(np.float32)


def draws(count: int):
    generator = np.random.default_rng(1)
    degrees = generator.uniform(-15, 15, count).astype(np.float32)
    down, right = generator.uniform(-0.1, 0.1, (2, count)).astype(np.float32)
    return degrees, down, right, generator.random(count) < 0.5


def test_same_parameters_give_keras_pixels():
    source = images(32)
    degrees, down, right, flip = draws(32)
    keras = ImageDataGenerator(fill_mode="nearest", interpolation_order=1)
    expected = np.stack(
        [
            keras.apply_transform(
                source[i],
                # What Keras calls tx moves columns, what it calls ty moves rows.
                {"theta": degrees[i], "tx": 32 * right[i], "ty": 32 * down[i], "flip_horizontal": flip[i]},
            )
            for i in range(32)
        ]
    )
    ours = affine(to_batch(source), *map(torch.from_numpy, (degrees, down, right, flip)), "nearest")
    assert np.abs(ours.permute(0, 2, 3, 1).numpy() - expected).max() < 0.05  # of 255


def test_oblong_images_turn_about_their_centre_as_scipy_turns_them():
    source = images(8, 24, 40)
    degrees, down, right, flip = draws(8)
    centre = np.array([11.5, 19.5])
    expected = np.empty_like(source)
    for i in range(8):
        theta = np.deg2rad(degrees[i])
        matrix = np.array([[np.cos(theta), np.sin(theta)], [-np.sin(theta), np.cos(theta)]])
        offset = centre - matrix @ (centre - [24 * down[i], 40 * right[i]])
        for channel in range(3):
            moved = ndimage.affine_transform(source[i, ..., channel], matrix, offset, order=1, mode="nearest")
            expected[i, ..., channel] = moved[:, ::-1] if flip[i] else moved
    ours = affine(to_batch(source), *map(torch.from_numpy, (degrees, down, right, flip)), "nearest")
    assert np.abs(ours.permute(0, 2, 3, 1).numpy() - expected).max() < 0.05


def test_without_motion_every_pixel_stays():
    source = to_batch(images(4))
    still, never = torch.zeros(4), torch.zeros(4, dtype=torch.bool)
    assert torch.allclose(affine(source, still, still, still, never, "nearest"), source, atol=1e-3)


def test_fill_zero_clears_what_lies_outside():
    source = torch.ones(1, 3, 32, 32)
    none, never = torch.zeros(1), torch.zeros(1, dtype=torch.bool)
    moved = affine(source, none, none, torch.tensor([0.25]), never, "zero")
    assert (moved[0, 0, 16] == 0).sum() == 8
    assert affine(source, none, none, torch.tensor([0.25]), never, "reflect").min() > 0.99


def test_crops_and_mirrors_equal_padding_and_slicing():
    source = images(32)
    generator = np.random.default_rng(2)
    down, right = generator.integers(-4, 5, (2, 32))
    flip = generator.random(32) < 0.5
    padded = np.pad(source, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="reflect")
    expected = []
    for i in range(32):
        cut = padded[i, 4 + down[i] : 36 + down[i], 4 + right[i] : 36 + right[i]]
        expected.append(
            cut
            if not flip[i]
            else np.pad(source[i, :, ::-1], ((4, 4), (4, 4), (0, 0)), mode="reflect")[
                4 + down[i] : 36 + down[i], 4 + right[i] : 36 + right[i]
            ]
        )
    ours = crop_flip(to_batch(source), *map(torch.from_numpy, (down, right, flip)))
    assert np.array_equal(ours.permute(0, 2, 3, 1).numpy(), np.stack(expected))
    assert ours.is_contiguous(memory_format=torch.channels_last)
