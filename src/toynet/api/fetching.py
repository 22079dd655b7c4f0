"""The verb that brings a data set."""

from pathlib import Path

from toynet.core.reporter import Reporter, Silent
from toynet.data import sources


def fetch(
    name: str,
    source: str | None = None,
    *,
    data_root: Path | None = None,
    reporter: Reporter | None = None,
) -> Path:
    """Bring cifar10 or cifar100 to the disk, from `source` (a file or an address) if given; its folder.

    Goes on where it broke off, and unpacks only what has the published sha256. Raises `ToyNetError`.
    """
    return sources.fetch(name, data_root, source, reporter or Silent())
