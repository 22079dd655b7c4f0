"""Errors a user can act on: one line that names the field or file and says what to do.

Anything that is not a `ToyNetError` is a defect of ToyNet, not of its input.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class ToyNetError(Exception):
    """A failure with a message meant for the user; the command line exits with `exit_code`."""

    exit_code = 1


class UsageError(ToyNetError):
    """The request itself is wrong: an unknown name, an impossible value."""

    exit_code = 2


class DataError(ToyNetError):
    """Images, labels or archives that cannot be used as they are."""


class DiskError(ToyNetError):
    """The disk is full or cannot be written; what was there before is still there."""


class CheckpointError(ToyNetError):
    """A checkpoint that is missing, damaged or of another model."""


class Diverged(ToyNetError):
    """A loss or a gradient is not finite. In training it is raised before the update is applied."""

    def __init__(self, message: str, *, step: int, epoch: int) -> None:
        super().__init__(
            f"{message}. Try a lower optim.lr, optim.clip_norm=1 or a few schedule.warmup_epochs"
        )
        self.step = step
        self.epoch = epoch


class Interrupted(ToyNetError):
    """A signal asked the run to stop; its state was saved first. Exit code is 128 + signal number."""

    def __init__(self, message: str, *, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """The tail of an error about an unknown `name`: the nearest of `choices`, else all of them."""
    known = sorted(choices)
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    if near:
        return f"did you mean {near[0]}?"
    return f"choose from: {', '.join(known)}"
