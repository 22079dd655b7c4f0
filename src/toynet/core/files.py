"""Files that are whole or absent: atomic writes, hashes, JSON lines."""

import fcntl
import hashlib
import json
import os
import secrets
import zlib
from collections.abc import Callable
from io import RawIOBase
from pathlib import Path
from typing import Any, BinaryIO

from toynet.core.errors import ToyNetError

_CHECKED = b'{"crc":"%08x",'
_CHECKED_LENGTH = len(_CHECKED % 0)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write `data` to `path` so that a reader sees the old content or the new, never a part."""
    payload = data.encode() if isinstance(data, str) else data
    write_atomic_with(path, lambda file: file.write(payload))


def write_atomic_with(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a neighbour file, flush it to the disk, and give it the name in one rename."""
    if not path.parent.is_dir():
        raise ToyNetError(f"cannot write {path}: the folder {path.parent} does not exist")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def make_folder(path: Path) -> None:
    """Make `path` and the folders above it, where they are not there, so that they survive a power cut."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in made:
        sync_folder(folder.parent)


def sync_folder(path: Path) -> None:
    """Flush a folder's entries, so that a rename in it survives a power cut; or a file's content."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_of(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    write_atomic(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Read one JSON file; a missing or damaged one is an error that names it."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise ToyNetError(f"{path} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ToyNetError(f"{path} is damaged: not JSON ({error})") from error


def append_json_line(path: Path, value: dict[str, Any], *, checked: bool = False) -> None:
    """Append one record to a JSON-lines file and flush it to the disk; a torn last line is dropped first.

    A `checked` line begins with the CRC-32 of the rest of it, so that a flipped bit is noticed. When the disk
    refuses, the file is left as it was.
    """
    line = canonical_json(value).encode() + b"\n"
    if checked:
        line = _CHECKED % zlib.crc32(line[1:]) + line[1:]
    is_new = not path.exists()
    with path.open("ab+", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        line = _mend_last_line(file) + line
        end = file.seek(0, os.SEEK_END)
        try:
            while line:
                line = line[file.write(line) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(end)
            raise
    if is_new:
        sync_folder(path.parent)


def _mend_last_line(file: RawIOBase) -> bytes:
    """Cut a file open for appending back to its last whole record; returns the line end that this lacks."""
    end = file.seek(0, os.SEEK_END)
    if end == 0:
        return b""
    file.seek(end - 1)
    if file.read(1) == b"\n":
        return b""
    file.seek(0)
    content = file.readall()
    start = content.rfind(b"\n") + 1
    if _is_whole(content[start:]):
        return b"\n"
    file.truncate(start)
    return b""


def read_json_lines(path: Path) -> list[Any]:
    """All whole records of a JSON-lines file; a torn last line (a crash while writing) is left out.

    Raises `ToyNetError` with the number of a damaged line.
    """
    if not path.exists():
        return []
    *lines, last = path.read_bytes().split(b"\n")
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            if line:
                records.append(_record(line))
        except (ValueError, RecursionError) as error:
            raise ToyNetError(f"{path}: line {number} is damaged ({error}); mend or remove it") from error
    return [*records, _record(last)] if _is_whole(last) else records


def _record(line: bytes) -> Any:
    """The value in a line. Raises `ValueError` when it is not JSON or not what its CRC promises."""
    if not line.startswith(_CHECKED[:8]):
        return json.loads(line)
    rest = line[_CHECKED_LENGTH:] + b"\n"
    if line[:_CHECKED_LENGTH] != _CHECKED % zlib.crc32(rest):
        raise ValueError("its content does not match its CRC")
    return json.loads(b"{" + rest)


def _is_whole(line: bytes) -> bool:
    """Whether a last line, which has no line end, lacks nothing but that."""
    try:
        return isinstance(_record(line), dict)
    except (ValueError, RecursionError):
        return False
