"""Time on a device that may still be computing when a call returns."""

import time
from collections.abc import Callable, Iterator
from itertools import count

import torch


def now(device: str) -> float:
    """Seconds, once `device` has done all it was asked to."""
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


def repeat(work: Callable[[], object], device: str, *, seconds: float, fewest: int, most: int) -> list[float]:
    """What `work` takes, in seconds, again and again for `seconds`; a first time before is not counted."""
    work()
    found = []
    for _ in rounds(seconds, fewest, most):
        started = now(device)
        work()
        found.append(now(device) - started)
    return found


def rounds(seconds: float, fewest: int, most: int | None = None) -> Iterator[int]:
    """0, 1, 2, ... until `seconds` have passed; at least `fewest` of them, at most `most`."""
    end = time.perf_counter() + seconds
    for number in count():
        if number == most or (number >= fewest and time.perf_counter() >= end):
            return
        yield number
