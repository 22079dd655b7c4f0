"""What was worked out from files, kept until the files change."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any, TypeVar

Value = TypeVar("Value")


class Remembered:
    """The `most` values that were used last, each with the state of the files it was made from."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, tuple[Hashable, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def recall(self, key: Hashable, state: Hashable, make: Callable[[], Value]) -> Value:
        """The value of `key` for this `state`, made where it is not there."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None and found[0] == state:
                self._kept.move_to_end(key)
                value: Value = found[1]
                return value
        value = make()
        with self._lock:
            self._kept[key] = state, value
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return value


def state_of(folder: Path, *names: str) -> tuple[tuple[int, int] | None, ...]:
    """When each file was written and how long it is; none for one that is not there."""
    return tuple(map(_written, (folder / name for name in names)))


def _written(path: Path) -> tuple[int, int] | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_mtime_ns, about.st_size
