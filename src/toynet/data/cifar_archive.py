"""CIFAR on its way to the disk: found unpacked, unpacked from the archive, or downloaded.

Nothing but the official archive, known by its sha256, is ever unpacked; a folder that is already unpacked is
used as it is. The archive stays beside the folder.
"""

import os
from pathlib import Path

from toynet.core.errors import DataError, UsageError
from toynet.core.files import sha256_of
from toynet.core.locks import folder_lock
from toynet.core.reporter import Reporter, Silent
from toynet.data.archives import unpack
from toynet.data.cifar import Variant, read_cifar
from toynet.data.download import NetworkError, download, is_web_address
from toynet.data.images import Dataset
from toynet.data.root import prepare_root

ARCHIVE_LIMIT_BYTES = 256 << 20


def load_cifar(variant: Variant, root: Path, reporter: Reporter = Silent()) -> Dataset:
    """The data set from `root`, brought there first where need be (see `fetch_cifar`)."""
    folder = find_cifar(variant, root) or fetch_cifar(variant, root, reporter=reporter)
    return read_cifar(variant, folder)


def find_cifar(variant: Variant, root: Path) -> Path | None:
    """The unpacked folder in `root`, if there is one; the binary version goes first."""
    names = (variant.folder, variant.python_folder)
    return next((root / name for name in names if name and os.path.isdir(root / name)), None)


def fetch_cifar(
    variant: Variant, root: Path, source: str | None = None, reporter: Reporter = Silent()
) -> Path:
    """The unpacked folder of the data set in `root`, brought there if it is not yet.

    `source` is the official archive as a file or an address. Without it the archive in `root` is taken, else
    it is downloaded from `mirror_urls`. Raises `DataError`.
    """
    prepare_root(root)
    with folder_lock(root):
        if folder := find_cifar(variant, root):
            reporter.note(f"{variant.name} is already in {folder}")
            return folder
        archive = root / variant.archive
        if source is not None and not is_web_address(source):
            if "://" in source:
                raise UsageError(f"{source} is not an address that starts with http:// or https://")
            archive = Path(source).expanduser()
            if not archive.is_file():
                raise DataError(f"{archive} is not a file; give {variant.archive} or its address")
        elif source is not None:
            _download(variant, (source,), archive, reporter)
        elif not archive.exists():
            _download(variant, mirror_urls(variant), archive, reporter)
        _verify(archive, variant)
        return unpack(archive, root, variant.folder, variant.largest_bytes, reporter)


def mirror_urls(variant: Variant) -> tuple[str, ...]:
    """Where the archive may be had: at the base addresses in `$TOYNET_MIRRORS` (separated by commas), then
    at the official host."""
    own = (base.strip() for base in os.environ.get("TOYNET_MIRRORS", "").split(","))
    bases = (*(base for base in own if base), *variant.mirrors)
    return tuple(f"{base.rstrip('/')}/{variant.archive}" for base in bases)


def _download(variant: Variant, urls: tuple[str, ...], archive: Path, reporter: Reporter) -> None:
    try:
        download(urls, archive, sha256=variant.sha256, limit_bytes=ARCHIVE_LIMIT_BYTES, reporter=reporter)
    except NetworkError as error:
        raise DataError(
            f"{variant.name} is not in {archive.parent} and could not be downloaded ({error}); "
            f"bring {variant.mirrors[0]}/{variant.archive} by other means and run "
            f"`toynet data fetch {variant.name} --from FILE`, or use the built-in images: --data glyphs"
        ) from error


def _verify(archive: Path, variant: Variant) -> None:
    try:
        found = sha256_of(archive)
    except OSError as error:
        raise DataError(f"cannot read {archive}: {error.strerror}") from error
    if found != variant.sha256:
        raise DataError(
            f"{archive} is not the official {variant.archive} (its sha256 is {found[:12]}..., "
            f"not {variant.sha256[:12]}...); remove it and fetch it again"
        )
