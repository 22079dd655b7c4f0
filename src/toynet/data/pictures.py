"""Pictures to be classified, as a user names them: files, folders, and `-` for standard input."""

import io
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from toynet.core.errors import UsageError
from toynet.core.reporter import Reporter, Silent
from toynet.data.layout import IMAGE_SUFFIXES

STDIN = "-"


@dataclass(frozen=True)
class PictureFile:
    """A picture that has not been read yet."""

    source: str
    """As the user named it, or the path inside the folder that was named."""

    content: bytes | None = None
    """Of what came on standard input; none for a file."""

    @property
    def stem(self) -> str:
        """The name without folders and ending."""
        return "stdin" if self.content is not None else Path(self.source).stem

    @property
    def size_bytes(self) -> int:
        """Of the content as it is stored; 0 where that cannot be told."""
        if self.content is not None:
            return len(self.content)
        try:
            return Path(self.source).stat().st_size
        except OSError:
            return 0

    def opened(self) -> Path | IO[bytes]:
        """What `data.pixels.read_pixels` reads, as often as it likes."""
        return Path(self.source) if self.content is None else io.BytesIO(self.content)


def find_pictures(
    sources: Iterable[str | Path], reporter: Reporter = Silent(), *, without: Path | None = None
) -> list[PictureFile]:
    """The pictures that `sources` name, folders searched with all that are inside them; at least one.

    In folders, files count by their ending, and what is hidden is passed over, as is the folder `without`
    inside one that is searched. Standard input is read to its end. Raises `UsageError` for a source that is
    not there and for a folder without pictures.
    """
    found: list[PictureFile] = []
    for source in map(str, sources):
        path = Path(source)
        if source == STDIN:
            found.append(PictureFile(STDIN, sys.stdin.buffer.read()))
        elif path.is_dir():
            found += _inside(path, reporter, without)
        elif path.exists():
            found.append(PictureFile(source))
        else:
            raise UsageError(f"there is no file or folder {source}")
    if not found:
        raise UsageError("name an image, a folder of images, or - for an image on standard input")
    return found


def _inside(folder: Path, reporter: Reporter, without: Path | None) -> list[PictureFile]:
    out = without.resolve() if without else None
    if out and folder.resolve() not in out.parents:
        out = None
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not (out and path.resolve().is_relative_to(out))
    ]
    images = [PictureFile(str(path)) for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise UsageError(f"{folder} holds no image files ({', '.join(sorted(IMAGE_SUFFIXES))})")
    if others := len(files) - len(images):
        reporter.note(f"{folder}: {others} other file{'s' if others > 1 else ''} passed over")
    return images
