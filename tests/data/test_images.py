"""Rows stand for the array that a copy would be; nothing that is computed from them differs."""

from pathlib import Path

import numpy as np
import pytest

from toynet.core.errors import DataError
from toynet.data import images as room
from toynet.data.balance import balance
from toynet.data.duplicates import shared_images
from toynet.data.images import ImageSet, Rows
from toynet.data.moments import image_moments, mean_and_deviation

GENERATOR = np.random.default_rng(0)
SOURCE = GENERATOR.integers(0, 256, (50, 8, 6, 3), dtype=np.uint8)
PICKED = GENERATOR.permutation(50)[:30]
CLASSES = ("a", "b")


def image_set(images: np.ndarray | Rows) -> ImageSet:
    return ImageSet(images, np.arange(len(images)) % 2, CLASSES)


@pytest.mark.parametrize(
    "key", [3, -1, slice(4, 9), slice(None), np.array([5, 5, 0]), np.arange(30) % 3 == 0], ids=str
)
def test_rows_read_like_the_copy(key) -> None:
    rows, copy = Rows(SOURCE, PICKED), SOURCE[PICKED]
    assert (rows.shape, rows.dtype, rows.ndim, len(rows)) == (copy.shape, copy.dtype, copy.ndim, len(copy))
    np.testing.assert_array_equal(rows[key], copy[key])
    np.testing.assert_array_equal(np.asarray(rows), copy)
    assert np.array(rows, dtype=np.float32).dtype == np.float32


def test_an_index_into_pixels_is_refused_not_misread() -> None:
    with pytest.raises(TypeError, match="take the images first"):
        Rows(SOURCE, PICKED)[..., 0]  # type: ignore[index]
    with pytest.raises(ValueError, match="copied"):
        np.asarray(Rows(SOURCE, PICKED), copy=False)


def test_taking_copies_nothing_and_composes() -> None:
    taken = image_set(SOURCE).take(PICKED).take(np.array([2, 0, 2]))
    assert isinstance(taken.images, Rows)
    assert taken.images.source is SOURCE
    np.testing.assert_array_equal(taken.images[:], SOURCE[PICKED[[2, 0, 2]]])
    np.testing.assert_array_equal(taken.labels, (np.arange(50) % 2)[PICKED[[2, 0, 2]]])


def test_digest_moments_and_file_are_those_of_the_copy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(room, "_CHUNK_BYTES", 1100)  # several chunks
    rows, copy = (image_set(images) for images in (Rows(SOURCE, PICKED), SOURCE[PICKED]))
    assert len(list(room.chunks(rows.images))) == 5
    assert rows.digest == copy.digest
    np.testing.assert_array_equal(rows.image_moments(), copy.image_moments())
    with (tmp_path / "a.npy").open("wb") as file:
        room.write_array(file, rows.images)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), copy.images)
    np.save(tmp_path / "b.npy", copy.images)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


def test_the_digest_is_what_it_was_when_images_were_copied() -> None:
    """Runs on disk hold it: a change here would make their images strangers."""
    import hashlib

    images, labels = SOURCE[PICKED], np.arange(30) % 2
    old = hashlib.sha256(repr((images.shape, CLASSES)).encode())
    old.update(images.data)
    old.update(labels.data)
    assert image_set(Rows(SOURCE, PICKED)).digest == old.hexdigest()


def test_statistics_are_those_of_the_histogram_bit_for_bit() -> None:
    """As they were computed when images were counted into 256 bins: runs on disk hold them."""
    images = GENERATOR.integers(0, 256, (300, 32, 32, 3), dtype=np.uint8)
    images[..., 1] //= 3
    values = np.arange(256, dtype=np.float64)
    counts = np.stack([np.bincount(images[..., c].ravel(), minlength=256) for c in range(3)])
    total = counts.sum(axis=1)
    mean = counts @ values / total
    std = np.sqrt(np.maximum(counts @ values**2 / total - mean**2, 0.0))
    found = mean_and_deviation(image_moments(images).sum(axis=0), 300 * 32 * 32)
    np.testing.assert_array_equal(found[0], mean.astype(np.float32))
    np.testing.assert_array_equal(found[1], std.astype(np.float32))


def test_moments_are_whole_numbers_image_by_image() -> None:
    white = np.full((3, 1024, 1024, 1), 255, np.uint8)
    assert image_moments(white)[:, :, 0].tolist() == [[255 * 2**20, 255**2 * 2**20]] * 3
    wide = SOURCE.astype(np.int64)
    expected = np.stack([wide.sum(axis=(1, 2)), (wide**2).sum(axis=(1, 2))], axis=1)
    np.testing.assert_array_equal(image_moments(SOURCE), expected)


def test_known_moments_follow_the_images_that_are_taken() -> None:
    known = ImageSet(SOURCE, np.arange(50) % 2, CLASSES, image_moments(SOURCE))
    np.testing.assert_array_equal(
        known.take(PICKED).image_moments(), image_set(SOURCE[PICKED]).image_moments()
    )


def test_only_files_are_mapped(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", SOURCE)
    mapped = np.asarray(np.load(tmp_path / "a.npy", mmap_mode="c"))
    assert room.is_mapped(mapped)
    assert room.is_mapped(Rows(mapped[3:40], PICKED[:5]))
    assert not room.is_mapped(SOURCE[3:40])
    assert not room.is_mapped(mapped[PICKED])


def test_misfits_are_refused() -> None:
    with pytest.raises(DataError, match="labels must be int64"):
        ImageSet(Rows(SOURCE, PICKED), np.zeros(50, np.int64), CLASSES)


# ---- duplicates and balance


def test_equal_images_are_found_each_with_the_first_that_equals_it() -> None:
    trained = SOURCE.copy()
    trained[9] = trained[4]
    judged = np.concatenate([GENERATOR.integers(0, 256, (5, 8, 6, 3), dtype=np.uint8), trained[[9, 20]]])
    judged[4] = trained[33]
    judged[4, 0, 0, 0] ^= 1
    assert shared_images(image_set(judged), image_set(trained)).tolist() == [[5, 4], [6, 20]]
    rows = Rows(trained, np.arange(10, 50))
    assert shared_images(image_set(judged), image_set(rows)).tolist() == [[6, 10]]


def test_no_equal_images_and_other_shapes_give_none() -> None:
    assert shared_images(image_set(SOURCE[:10]), image_set(SOURCE[10:])).shape == (0, 2)
    assert shared_images(image_set(SOURCE[:, :6]), image_set(SOURCE)).shape == (0, 2)


def test_all_of_many_duplicates_are_found() -> None:
    noise = np.random.default_rng(1).integers(0, 4, (4000, 2, 2, 1), dtype=np.uint8)
    judged, trained = image_set(noise[:2000]), image_set(noise[2000:])
    known = {image.tobytes() for image in trained.images}
    expected = [row for row, image in enumerate(judged.images) if image.tobytes() in known]
    assert shared_images(judged, trained)[:, 0].tolist() == expected
    assert len(expected) > 100


def test_balance_names_the_extremes() -> None:
    found = balance(np.repeat([0, 1, 2], [40, 10, 25]), ("cat", "dog", "cow"))
    assert (found.largest, found.smallest, found.ratio) == ("cat", "dog", 4.0)
    assert str(found) == "cat has 4.0 times the training images of dog (40 and 10)"
    assert balance(np.zeros(3, np.int64), ("a", "b")).ratio == float("inf")
