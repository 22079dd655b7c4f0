"""How long work tells what it is doing. The command line draws it; a library user may ignore it."""

from typing import Protocol

from toynet.core.records import EpochRecord


class Reporter(Protocol):
    """Receives progress; must not influence the work."""

    def begin(self, task: str, total: int, unit: str) -> None:
        """A task of `total` units starts; the one before it is over."""

    def advance(self, units: int) -> None:
        """`units` more are done."""

    def epoch(self, record: EpochRecord, planned_epochs: int) -> None:
        """An epoch of training ended."""

    def note(self, text: str) -> None:
        """Something worth a line."""


def times(count: int) -> str:
    """`once`, or how many times."""
    return "once" if count == 1 else f"{count} times"


class Silent:
    """The reporter that says nothing."""

    def begin(self, task: str, total: int, unit: str) -> None:
        pass

    def advance(self, units: int) -> None:
        pass

    def epoch(self, record: EpochRecord, planned_epochs: int) -> None:
        pass

    def note(self, text: str) -> None:
        pass
