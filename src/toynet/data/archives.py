"""Unpack a tar.gz that may be hostile: only the expected files, only into a folder of their own.

Names, types and sizes are judged before a byte is written, tarfile's own extraction is not used, and the
decompressed stream is bounded as a whole, so that neither 10 GB of zeros nor a million members are read.
Folder and files take their names in one rename at the end; a failure leaves nothing behind.
"""

import gzip
import os
import shutil
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from toynet.core.errors import DataError
from toynet.core.files import sync_folder
from toynet.core.reporter import Reporter, Silent

SLACK_BYTES = 1 << 20
"""What headers, padding and small extra files may take beside the expected members."""

CHUNK_BYTES = 1 << 20


def unpack(
    archive: Path,
    parent: Path,
    folder: str,
    largest_bytes: Mapping[str, int],
    reporter: Reporter = Silent(),
) -> Path:
    """Unpack `archive` into `parent / folder`, which must not exist, and return it.

    `largest_bytes` names the files that must be in `folder` and the most bytes each may have. Other plain
    files in it are left in the archive; anything else (a link, a device, a path elsewhere) refuses the whole.
    Raises `DataError` naming the archive, or the disk's error.
    """
    target = parent / folder
    unfinished = parent / f".{folder}.unpacking"
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        _unpack_into(unfinished, archive, folder, largest_bytes, reporter)
        sync_folder(unfinished)
        os.rename(unfinished, target)
        sync_folder(parent)
    except OSError as error:
        raise DataError(f"cannot unpack {archive} into {parent}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return target


def _unpack_into(
    room: Path, archive: Path, folder: str, largest_bytes: Mapping[str, int], reporter: Reporter
) -> None:
    limit = sum(largest_bytes.values()) + SLACK_BYTES
    reporter.begin(f"unpack {archive.name}", len(largest_bytes), "files")
    missing = set(largest_bytes)
    with archive.open("rb") as packed:
        try:
            with _Bounded(packed, limit) as stream:
                with tarfile.open(fileobj=stream, mode="r|") as tar:
                    for member in tar:
                        name = _judge(member, folder, largest_bytes)
                        if name is None:
                            continue
                        if name not in missing:
                            raise _Refused(f"{member.name} is there twice")
                        content = tar.extractfile(member)
                        assert content is not None
                        _write(room / name, content, member.size)
                        missing.discard(name)
                        reporter.advance(1)
                # The check sum of the stream stands at its end, behind the last member.
                while stream.read(CHUNK_BYTES):
                    pass
        except _Refused as error:
            raise DataError(f"{archive} is refused: {error}") from error
        except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, ValueError) as error:
            raise DataError(f"{archive} is damaged: {error}") from error
    if missing:
        raise DataError(f"{archive} is incomplete: {folder}/{min(missing)} is not in it")


def _judge(member: tarfile.TarInfo, folder: str, largest_bytes: Mapping[str, int]) -> str | None:
    """The name of an expected member inside `folder`, none for one to pass over; raises on the rest."""
    path = member.name.removeprefix("./")
    if member.isdir() and path.rstrip("/") in (folder, "", "."):
        return None
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
        raise _Refused(f"{member.name!r} is not a plain file")
    parts = path.split("/")
    if len(parts) != 2 or parts[0] != folder or parts[1] in ("", ".", ".."):
        raise _Refused(f"{member.name!r} lies outside {folder}/")
    name = parts[1]
    if name not in largest_bytes:
        return None
    if member.size > largest_bytes[name]:
        raise _Refused(f"{member.name!r} has {member.size:,} bytes, at most {largest_bytes[name]:,} expected")
    return name


def _write(path: Path, content: IO[bytes], size: int) -> None:
    with path.open("xb") as file:
        shutil.copyfileobj(content, file, CHUNK_BYTES)
        if file.tell() != size:
            raise EOFError(f"{path.name} breaks off")
        file.flush()
        os.fsync(file.fileno())


class _Refused(Exception):
    """The archive holds what no official one does."""


class _Bounded(gzip.GzipFile):
    """A gzip stream of which no more than `limit` unpacked bytes can be read."""

    def __init__(self, packed: IO[bytes], limit: int) -> None:
        super().__init__(fileobj=packed, mode="rb")
        self._left = limit

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self._left -= len(data)
        if self._left < 0:
            raise _Refused("it unpacks to more bytes than the expected files have")
        return data
