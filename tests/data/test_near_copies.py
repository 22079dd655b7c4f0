from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from scipy.ndimage import convolve, gaussian_filter, uniform_filter

from toynet.data.images import ImageSet, Rows
from toynet.data.near_copies import near_copies


def textures(count: int, seed: int, side: int = 32) -> np.ndarray:
    """Images (N, side, side, 3) of coloured blots, no two alike."""
    noise = np.random.default_rng(seed).normal(size=(count, side, side, 3))
    blots = gaussian_filter(noise, (0, side / 16, side / 16, 0.6))
    low, high = blots.min((1, 2, 3), keepdims=True), blots.max((1, 2, 3), keepdims=True)
    return (40 + 170 * (blots - low) / (high - low)).astype(np.uint8)


def image_set(images: np.ndarray | Rows) -> ImageSet:
    return ImageSet(images, np.zeros(len(images), np.int64), ("one",))


TRAINED = textures(400, seed=0)
JUDGED = textures(60, seed=1)


def zoomed(image: Image.Image, part: float) -> Image.Image:
    edge = (1 - part) / 2 * image.width
    return image.resize(image.size, Image.Resampling.BICUBIC, (edge, edge, 32 - edge, 32 - edge))


def moved(image: Image.Image, right: int, down: int) -> Image.Image:
    return Image.fromarray(np.roll(np.asarray(image), (down, right), (0, 1)))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda image: image, id="none"),
        pytest.param(ImageOps.mirror, id="mirror"),
        pytest.param(lambda image: moved(image, 2, -1), id="shift"),
        pytest.param(lambda image: zoomed(image, 0.88), id="crop"),
        pytest.param(
            lambda image: ImageOps.mirror(moved(zoomed(image, 0.92), 1, 1)), id="crop, shift, mirror"
        ),
        pytest.param(lambda image: ImageEnhance.Brightness(image).enhance(1.2), id="bright"),
        pytest.param(lambda image: ImageEnhance.Contrast(image).enhance(0.4), id="contrast"),
        pytest.param(lambda image: ImageEnhance.Color(image).enhance(0.5), id="paler"),
        pytest.param(lambda image: image.filter(ImageFilter.GaussianBlur(0.7)), id="blur"),
        pytest.param(lambda image: image.quantize(32).convert("RGB"), id="few colours"),
    ],
)
def test_versions_of_an_image_are_found_and_nothing_else(
    change: Callable[[Image.Image], Image.Image],
) -> None:
    judged = JUDGED.copy()
    for row, origin in ((3, 17), (41, 399)):
        judged[row] = np.asarray(change(Image.fromarray(TRAINED[origin])))
    found = near_copies(image_set(judged), image_set(TRAINED))
    assert {(copy.judged, copy.trained) for copy in found} == {(3, 17), (41, 399)}
    assert all(0.85 <= copy.likeness <= 1 for copy in found)


def test_the_likest_first_and_each_image_once() -> None:
    trained = TRAINED.copy()
    trained[8] = np.asarray(moved(Image.fromarray(TRAINED[5]), 2, 0))
    judged = np.stack([JUDGED[0], np.asarray(zoomed(Image.fromarray(TRAINED[30]), 0.93)), TRAINED[5]])
    found = near_copies(image_set(judged), image_set(trained))
    assert [(copy.judged, copy.trained) for copy in found] == [(2, 5), (1, 30)]
    assert found[0].likeness == pytest.approx(1, abs=1e-5)
    least = (found[0].likeness + found[1].likeness) / 2
    assert near_copies(image_set(judged), image_set(trained), least=least) == found[:1]


def test_other_sizes_gray_images_and_rows() -> None:
    large = textures(40, seed=2, side=80)
    small = np.stack([np.asarray(Image.fromarray(image).resize((48, 48))) for image in large[[7, 11]]])
    pairs = [(0, 7), (1, 11)]
    assert sorted((c.judged, c.trained) for c in near_copies(image_set(small), image_set(large))) == pairs
    gray = large[..., :1]
    assert len(near_copies(image_set(gray), image_set(gray), least=1)) == 40
    rows = image_set(Rows(large, np.array([11, 3, 7])))
    assert sorted((c.judged, c.trained) for c in near_copies(image_set(small), rows)) == [(0, 2), (1, 0)]


def test_plain_images_match_equal_ones_only() -> None:
    plain = np.full((3, 32, 32, 3), 90, np.uint8)
    plain[1:, :, 16:] = 91
    assert near_copies(image_set(plain), image_set(plain[:, ::-1] + 1)) == []
    assert [(c.judged, c.likeness) for c in near_copies(image_set(plain), image_set(plain), least=1)] == [
        (0, 1.0),
        (1, 1.0),
        (2, 1.0),
    ]
    assert near_copies(image_set(plain[:0]), image_set(TRAINED)) == []
    assert near_copies(image_set(TRAINED), image_set(plain[:0])) == []


def test_likeness_is_the_correlation_of_what_overlaps() -> None:
    """Against the sums written out for one known position."""
    details = gaussian_filter(np.random.default_rng(3).normal(size=(40, 40)), 1.2)
    image = (128 + 90 * details / np.abs(details).max()).astype(np.uint8)
    whole = np.repeat(image[..., None], 3, axis=2)
    mine, theirs = whole[None, 4:36, 4:36], whole[None, 2:34, 5:37]
    (found,) = near_copies(image_set(mine), image_set(theirs), least=0.5)

    def between(part: np.ndarray) -> np.ndarray:
        shown = part[0, :, :, 0].astype(float)
        return uniform_filter(shown, 11, mode="nearest") - _pairs_mean(shown)

    a, b = between(mine)[:30, 1:], between(theirs)[2:, :31]
    expected = (a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum())
    assert found.likeness == pytest.approx(expected, abs=1e-4)


def _pairs_mean(image: np.ndarray) -> np.ndarray:
    """The mean over two pixels in each direction, half of each neighbour counted."""
    return convolve(image, np.outer([0.25, 0.5, 0.25], [0.25, 0.5, 0.25]), mode="nearest")
