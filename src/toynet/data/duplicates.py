"""Images of one set that are in another too, pixel for pixel: scores on them say nothing about new images."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from toynet.data.images import ImageSet, Pixels, chunks


def shared_images(judged: ImageSet, trained: ImageSet) -> NDArray[np.int64]:
    """Rows (M, 2) of `judged` and of `trained` that hold equal pixels: each of `judged` once, with the first.

    Pixels are compared as the model sees them, after decoding and resizing, so the same picture in two file
    formats counts; one that was changed in any pixel does not.
    """
    if judged.images.shape[1:] != trained.images.shape[1:] or not len(trained):
        return np.empty((0, 2), np.int64)
    mine, theirs = _hashes(judged.images), _hashes(trained.images)
    known, first = np.unique(theirs, return_index=True)
    place = np.searchsorted(known, mine).clip(max=len(known) - 1)
    rows = np.flatnonzero(known[place] == mine)
    pairs = np.stack([rows, first[place[rows]]], axis=1).astype(np.int64)
    # 64 bits may agree by chance.
    equal = [np.array_equal(judged.images[mine], trained.images[other]) for mine, other in pairs.tolist()]
    same: NDArray[np.int64] = pairs[np.array(equal, bool)]
    return same


def _hashes(images: Pixels) -> NDArray[np.uint64]:
    """64 bits of a hash for each image, (N,)."""
    digests = b"".join(
        hashlib.blake2b(image.tobytes(), digest_size=8).digest()
        for chunk in chunks(images)
        for image in chunk
    )
    return np.frombuffer(digests, np.uint64)
