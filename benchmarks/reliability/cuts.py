"""Goal 12: downloads that are cut at 100 offsets, or bring wrong bytes: tests/data/test_download.py."""

from typing import Any

from reliability import audit

COUNT = 100
"""Offsets, fixed in the tests."""

SHORT = COUNT


def prove(count: int) -> dict[str, Any]:
    """The tests of downloads, against a server on this machine that misbehaves."""
    return audit.watch("tests/data/test_download.py")
