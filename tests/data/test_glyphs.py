import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from toynet.core.errors import UsageError
from toynet.data import glyphs as module
from toynet.data.glyphs import FONTS, glyphs

SMALL = 1200


def test_shape_and_balance() -> None:
    data = glyphs(SMALL)
    assert data.name == f"glyphs:{SMALL}"
    assert data.image_shape == (32, 32, 3)
    assert data.classes == tuple("0123456789")
    assert data.val is None
    assert np.bincount(data.train.labels).tolist() == [100] * 10
    assert np.bincount(data.test.labels).tolist() == [20] * 10


def test_any_count_is_balanced_within_one() -> None:
    data = glyphs(677)
    assert (len(data.train), len(data.test)) == (565, 112)
    for part in (data.train, data.test):
        counts = np.bincount(part.labels, minlength=10)
        assert counts.max() - counts.min() <= 1


def test_every_split_in_order_is_mixed() -> None:
    """The report's protocol takes the first fifth of train: all classes must be in it, out of order."""
    first = glyphs(SMALL).train.labels[:200]
    assert np.bincount(first, minlength=10).min() >= 10
    assert (np.diff(first) != 0).mean() > 0.8


def test_a_function_of_count_and_seed() -> None:
    one = glyphs(120, seed=3)
    assert one.train.digest == glyphs(120, seed=3).train.digest
    assert one.test.digest == glyphs(120, seed=3).test.digest
    assert one.train.digest != glyphs(120, seed=4).train.digest
    assert one.test.digest != glyphs(120, seed=4).test.digest


def test_train_and_test_share_no_image() -> None:
    data = glyphs(SMALL)
    both = np.concatenate([data.train.images, data.test.images]).reshape(SMALL, -1)
    assert len(np.unique(both, axis=0)) == SMALL


def test_too_few_images_is_an_error() -> None:
    with pytest.raises(UsageError, match="at least 60, not 59"):
        glyphs(59)
    assert np.bincount(glyphs(60).test.labels).tolist() == [1] * 10


def test_every_font_has_ten_different_digits_inside_its_mask() -> None:
    assert len(module._masks()) == len(FONTS)
    for masks in module._masks():
        assert len({mask.tobytes() for mask in masks}) == 10
        for mask in masks:
            left, top, right, bottom = mask.getbbox()
            assert 0 < left < right < 64
            assert 0 < top < bottom < 64
            assert abs(left + right - 64) <= 3
            assert abs(top + bottom - 64) <= 3
            assert 34 <= bottom - top <= 46


def test_ink_stands_out_from_its_ground() -> None:
    ground, ink, contrast = module._colours(2000, np.random.default_rng(0))

    def luma(colours: np.ndarray) -> np.ndarray:
        as_image = Image.fromarray(np.rint(colours[:, 0]).astype(np.uint8))
        return np.asarray(as_image.convert("L"), float)[:, 0]

    gap = luma(ink) - luma(ground)
    np.testing.assert_allclose(abs(gap), contrast.ravel(), atol=2)
    assert abs(gap).min() > 58
    assert 0.4 < (gap > 0).mean() < 0.6


def test_neighbours_are_cut_or_to_the_right() -> None:
    middle, neighbours = module._layout(4000, np.random.default_rng(0))
    places = np.stack([where for _, where in neighbours])
    whole = (np.abs(places) < 12).all(axis=2)
    assert not whole[1].any()
    assert 0.10 < whole[0].mean() < 0.14
    assert neighbours[0][0][whole[0]].all()
    assert (places[0][whole[0], 0] - middle[whole[0], 0] >= 12).all()


def test_a_small_blur_keeps_the_mean() -> None:
    images = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    images[:, 0] = images[:, -1] = images[:, :, 0] = images[:, :, -1] = 0
    weight = np.array([0.0, 0.25], np.float32).reshape(2, 1, 1, 1)
    blurred = module._blurred(images, weight)
    np.testing.assert_array_equal(blurred[0], images[0])
    kernel = np.array([0.25, 0.5, 0.25])
    expected = sum(
        kernel[i] * kernel[j] * images[1, 9 + i : 21 + i, 9 + j : 21 + j] for i in range(3) for j in range(3)
    )
    np.testing.assert_allclose(blurred[1, 10:22, 10:22], expected, rtol=1e-4)


def test_nearest_mean_reads_little() -> None:
    """A linear reader stays far below the promised 60 %."""
    data = glyphs(3000)
    x, test = data.train.images.reshape(2500, -1) / 255.0, data.test.images.reshape(500, -1) / 255.0
    means = np.stack([x[data.train.labels == k].mean(0) for k in range(10)])
    scores = test @ means.T - 0.5 * (means**2).sum(1)
    assert (scores.argmax(1) == data.test.labels).mean() < 0.4


def test_the_default_set_takes_seconds() -> None:
    start = time.process_time()
    data = glyphs()
    assert time.process_time() - start < 10  # promised: 5 on an idle core
    assert (data.name, len(data.train), len(data.test)) == ("glyphs", 10_000, 2_000)


def test_fonts_are_found_without_matplotlib_or_torch() -> None:
    code = (
        "import sys; from toynet.data.glyphs import glyphs; glyphs(60); "
        "sys.exit(bool({'matplotlib', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
