"""Image files in folders as a data set: found by `layout`, decoded once into `pixel_cache`, mapped from it.

Every file counts: one that cannot be read is an error, not a smaller data set. Channels are inferred unless
they are given: images that are all gray, whatever their mode, become one channel, else all are RGB.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from toynet.core.reporter import Reporter, Silent
from toynet.data.images import Dataset, ImageSet
from toynet.data.layout import Layout, find_files
from toynet.data.pixel_cache import decoded

DEFAULT_SIZE = 32


def read_folder(
    path: Path,
    size: int | None = None,
    channels: int | Literal["auto"] = "auto",
    reporter: Reporter = Silent(),
) -> Dataset:
    """Read the images below `path`, brought to `size` x `size` pixels (32 if none); they stay on the disk.

    Raises `DataError` for missing, empty or unknown classes, for files that are no images, and where the
    decoded images cannot be kept.
    """
    layout = find_files(path, reporter)

    def digests(images: NDArray[np.uint8]) -> dict[str, str]:
        return {
            name: ImageSet(images[rows], labels, layout.classes).digest
            for name, rows, labels in _sections(layout)
        }

    found = decoded(layout, size or DEFAULT_SIZE, channels, digests, reporter)
    sets = {
        name: ImageSet(found.images[rows], labels, layout.classes, found.moments[rows], found.digests[name])
        for name, rows, labels in _sections(layout)
    }
    return Dataset(f"folder:{path}", sets["train"], sets["test"], sets.get("val"))


def _sections(layout: Layout) -> Iterator[tuple[str, slice, NDArray[np.int64]]]:
    """Each part's name, its place among all images, and its labels."""
    start = 0
    for name, part in layout.parts.items():
        counts = [len(files.names) for files in part.values()]
        end = start + sum(counts)
        yield name, slice(start, end), np.repeat(np.arange(len(counts), dtype=np.int64), counts)
        start = end
