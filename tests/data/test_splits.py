from dataclasses import replace

import numpy as np
import pytest

from toynet.core.errors import DataError
from toynet.data.images import Dataset, ImageSet
from toynet.data.spec import DataSpec
from toynet.data.splits import channel_statistics, split


def dataset(count: int = 1000, with_val: bool = False) -> Dataset:
    generator = np.random.default_rng(0)

    def part(size: int) -> ImageSet:
        images = generator.integers(0, 256, (size, 8, 8, 3), dtype=np.uint8)
        return ImageSet(images, np.arange(size) % 5, tuple("abcde"))

    return Dataset("made", part(count), part(50), part(30) if with_val else None)


def test_standard_is_stratified_and_disjoint():
    source = dataset()
    parts = split(source, DataSpec())
    assert (len(parts.train), len(parts.val)) == (900, 100)
    assert np.bincount(parts.val.labels).tolist() == [20] * 5
    pixels = {image.tobytes() for image in parts.train.images}
    assert not pixels & {image.tobytes() for image in parts.val.images}
    assert len(pixels) == 900


def test_the_split_depends_on_its_own_seed_only_and_says_so_in_its_hash():
    first, again, other = (split(dataset(), DataSpec(split_seed=s)).digest for s in (1, 1, 2))
    assert first == again != other


def test_report_takes_the_first_fifth_as_keras_does():
    source = dataset()
    parts = split(source, DataSpec(protocol="report"))
    assert np.array_equal(parts.val.images, source.train.images[:200])
    assert np.array_equal(parts.train.images, source.train.images[200:])


def test_full_validates_on_nothing():
    parts = split(dataset(), DataSpec(protocol="full"))
    assert parts.val is None
    assert len(parts.train) == 1000


def test_a_source_with_validation_images_keeps_them():
    source = dataset(with_val=True)
    parts = split(source, DataSpec())
    assert parts.val is source.val
    assert len(parts.train) == 1000
    changed = source.val.images.copy()
    changed[0] ^= 1
    other = replace(source, val=replace(source.val, images=changed))
    assert split(other, DataSpec()).digest != parts.digest


def test_the_first_fifth_of_sorted_images_is_refused():
    source = dataset()
    order = np.argsort(source.train.labels, kind="stable")
    with pytest.raises(DataError, match=r"no training images of a; .* use data.protocol=standard"):
        split(replace(source, train=source.train.take(order)), DataSpec(protocol="report"))


def test_the_first_fifth_of_two_sorted_classes_is_refused_too():
    """A fifth is less than a class, so all of them are trained on, and one alone would validate."""
    source = dataset()
    two = np.flatnonzero(source.train.labels < 2)
    order = two[np.argsort(source.train.labels[two], kind="stable")]
    pair = replace(source, train=replace(source.train.take(order), classes=("a", "b")))
    with pytest.raises(DataError, match=r"no validation images of b; .* use data.protocol=standard"):
        split(pair, DataSpec(protocol="report"))


def test_too_few_images_to_split_is_said():
    with pytest.raises(DataError, match="too few images"):
        split(dataset(4), DataSpec(protocol="report"))
    with pytest.raises(DataError, match="no validation images of c, d, e"):
        split(dataset(10), DataSpec(protocol="report"))


def test_statistics_equal_numpys():
    part = dataset().train
    images = part.images
    mean, std = channel_statistics(part)
    assert np.allclose(mean, images.mean(axis=(0, 1, 2)), rtol=1e-6)
    assert np.allclose(std, images.std(axis=(0, 1, 2)), rtol=1e-5)
    flat = ImageSet(np.zeros((2, 4, 4, 1), np.uint8), np.zeros(2, np.int64), ("a",))
    assert channel_statistics(flat)[1].tolist() == [1.0]
