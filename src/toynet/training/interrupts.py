"""Ctrl-C and SIGTERM as a flag that the loop reads between steps."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopFlag:
    """`signal_number` is set once someone asked the process to stop."""

    def __init__(self) -> None:
        self.signal_number: int | None = None


@contextmanager
def stop_on_signals(*, to_the_end: bool = False) -> Iterator[StopFlag]:
    """Turn SIGINT and SIGTERM into a flag; a second SIGINT, the impatient user's, interrupts at once.

    Outside the main thread signals cannot be caught, and the flag stays clear. to_the_end: an error that
    leaves the block does not end this, for a launcher's SIGTERM must not cut off a rank that tells it.
    """
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if flag.signal_number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        flag.signal_number = flag.signal_number or number

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    failed = True
    try:
        yield flag
        failed = False
    finally:
        if not (failed and to_the_end):
            for number, handler in before.items():
                signal.signal(number, handler)
