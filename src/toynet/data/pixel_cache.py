"""Decoded image files, kept so that they are decoded once and need not fit in memory.

An entry is a folder in the user's cache: `images.npy`, uint8 (N, H, W, C), which is mapped and never read as
a whole; `moments.npy`, from which the statistics of any part follow; `manifest.json`, which is written last.

An entry is named by a hash over every file's place in the folder, size and times of change, the input size,
the channels asked for, and the versions of the decoding rules and of Pillow. Not over the files' contents: it
would cost a second reading of all files at each start, where a size and times cost microseconds. Both times
count: that of the content, which archives and tools set to what they like, and that of the file's entry on
this disk, which the system sets at every change and nobody else. The folder's own path is not part of the
hash, so that a folder may be moved within its disk.

One process at a time decodes (it uses all cores); others wait, and then find the entry. It is built beside
its place and takes its name in one rename: what a killed process left is removed by the next that decodes,
and never used. An entry whose pixels have another length or time than its manifest says is decoded anew.
"""

import errno
import hashlib
import math
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import PIL
from numpy.typing import NDArray

from toynet.core.errors import DataError, ToyNetError
from toynet.core.files import canonical_json, read_json, sync_folder, write_json
from toynet.core.locks import folder_lock
from toynet.core.places import cache_folder
from toynet.core.reporter import Reporter
from toynet.data.decoding import decode_files
from toynet.data.images import chunks, write_header
from toynet.data.layout import Layout
from toynet.data.moments import image_moments
from toynet.data.pixels import RULES_VERSION, with_channels

_FORMAT = 1
_BUILDING = ".building-"

Digests = Callable[[NDArray[np.uint8]], dict[str, str]]


@dataclass(frozen=True)
class Decoded:
    """Images (N, H, W, C) in the order of the layout, mapped; their moments; a digest for each part."""

    images: NDArray[np.uint8]
    moments: NDArray[np.int64]
    digests: dict[str, str]


def decoded(
    layout: Layout, size: int, channels: int | Literal["auto"], digests: Digests, reporter: Reporter
) -> Decoded:
    """The images of `layout` at `size` x `size` pixels, decoded now or before.

    `digests` gives the digest of each part from all the images; it is asked when they have been decoded.
    Raises `DataError` for files that cannot be used and for a cache that cannot be written.
    """
    room = cache_folder() / "pixels"
    rules = [_FORMAT, RULES_VERSION, PIL.__version__, size, channels]
    entry = room / hashlib.sha256(canonical_json([layout.stamp, *rules]).encode()).hexdigest()[:32]
    found = _open(entry, len(layout), reporter)
    if found is not None:
        reporter.note(f"images were decoded before, into {entry}")
        return found
    try:
        room.mkdir(parents=True, exist_ok=True)
        with folder_lock(
            room, waiting=lambda owner: reporter.note(f"waiting for {owner}, which decodes images")
        ):
            found = _open(entry, len(layout), reporter)
            if found is None:
                about = {"root": os.path.realpath(layout.root), "size": size, "channels": channels}
                found = _build(entry, layout, about, digests, reporter)
    except OSError as error:
        raise _unwritable(room, error.strerror or str(error)) from error
    return found


def _open(entry: Path, count: int, reporter: Reporter) -> Decoded | None:
    """The entry, if it is there and whole."""
    if not entry.exists():
        return None
    try:
        manifest = read_json(entry / "manifest.json")
        about = (entry / "images.npy").stat()
        if [about.st_size, about.st_mtime_ns] != manifest["images"]:
            raise ValueError("not the pixels that were written")
        # Copy on write: torch wants arrays that could be written to, and nobody writes.
        images = np.asarray(np.load(entry / "images.npy", mmap_mode="c"))
        moments = np.load(entry / "moments.npy")
        if moments.shape != (count, 2, images.shape[3]) or len(images) != count:
            raise ValueError("not as many images as there are files")
        return Decoded(images, moments, dict(manifest["digests"]))
    except (ToyNetError, OSError, ValueError, LookupError, TypeError):
        reporter.note(f"{entry} is damaged: the images are decoded anew")
        return None


def _build(
    entry: Path, layout: Layout, about: dict[str, Any], digests: Digests, reporter: Reporter
) -> Decoded:
    room = entry.parent
    for left in room.glob(f"{_BUILDING}*"):
        shutil.rmtree(left, ignore_errors=True)
    # A name of its own: a child of a killed process may still be writing into the folder of that one.
    building = Path(tempfile.mkdtemp(prefix=_BUILDING, dir=room))
    try:
        file = building / "images.npy"
        _decode(layout, file, about["size"], about["channels"], reporter)
        images = np.asarray(np.load(file, mmap_mode="r"))
        reporter.begin("summarise pixels", len(images), "images")
        moments = []
        for chunk in chunks(images):
            moments.append(image_moments(chunk))
            reporter.advance(len(chunk))
        np.save(building / "moments.npy", np.concatenate(moments))
        stat = file.stat()
        manifest = {**about, "images": [stat.st_size, stat.st_mtime_ns], "digests": digests(images)}
        for written in (file, building / "moments.npy"):
            sync_folder(written)
        write_json(building / "manifest.json", manifest)
        shutil.rmtree(entry, ignore_errors=True)
        os.rename(building, entry)
        sync_folder(room)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    _remove_older(entry, about)
    reporter.note(f"decoded {len(layout):,} images into {entry} ({stat.st_size / 2**20:,.0f} MB)")
    found = _open(entry, len(layout), reporter)
    if found is None:
        raise DataError(f"{entry} cannot be read back")
    return found


def _decode(
    layout: Layout, file: Path, size: int, channels: int | Literal["auto"], reporter: Reporter
) -> None:
    """Write the pixels of all files in their wanted channels."""
    shape = (len(layout), size, size, 3)
    with file.open("xb") as pixels:
        write_header(pixels, shape)
        start = pixels.tell()
        _reserve(pixels, start + math.prod(shape), file.parent.parent)
    colour = decode_files(layout.paths(), len(layout), size, file, start, reporter)
    if channels == 1 or (channels == "auto" and not colour):
        gray = file.with_name("gray.npy")
        with gray.open("xb") as pixels:
            write_header(pixels, (*shape[:3], 1))
            for chunk in chunks(np.asarray(np.load(file, mmap_mode="r"))):
                pixels.write(with_channels(chunk, 1).data)
        os.replace(gray, file)


def _reserve(file: BinaryIO, size_bytes: int, room: Path) -> None:
    """Take the space before the work; raises `DataError` where there is not enough."""
    try:
        if shutil.disk_usage(room).free < size_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size_bytes)
        else:
            file.truncate(size_bytes)
    except OSError as error:
        free = shutil.disk_usage(room).free
        needs = f"{size_bytes / 2**20:,.0f} MB are needed, {free / 2**20:,.0f} MB are free"
        raise _unwritable(room, f"{error.strerror} ({needs})") from error


def _unwritable(room: Path, reason: str) -> DataError:
    return DataError(
        f"decoded images cannot be kept in {room}: {reason}; "
        "make room, or set XDG_CACHE_HOME to another folder"
    )


def _remove_older(entry: Path, about: dict[str, Any]) -> None:
    """Remove what the same folder gave, at the same size and channels, before its files changed."""
    for manifest in entry.parent.glob("*/manifest.json"):
        try:
            other = read_json(manifest)
        except ToyNetError:
            continue
        if manifest.parent != entry and {key: other.get(key) for key in about} == about:
            shutil.rmtree(manifest.parent, ignore_errors=True)
