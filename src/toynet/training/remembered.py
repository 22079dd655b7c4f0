"""What was found fastest before, kept in one JSON file by machine, torch build, model and batch."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from toynet.core.errors import ToyNetError
from toynet.core.files import read_json, write_json
from toynet.core.records import Record
from toynet.training.choice import Timing
from toynet.training.setup import Setup


class Entry(Record):
    """What is known of one model and batch on one machine."""

    best: Setup | None = None
    """What `bench` chose among all set-ups and numbers of threads; none before it has run."""

    timings: tuple[Timing, ...] = ()

    def with_timings(self, new: Iterable[Timing]) -> "Entry":
        """The entry with `new` in place of what was timed in the same set-ups before."""
        merged = {timing.setup: timing for timing in (*self.timings, *new)}
        return self.model_copy(update={"timings": tuple(merged.values())})


def recall(memory: Path, key: str) -> Entry:
    """The entry of `key`; an empty one where the file is missing or damaged, for it can be found again."""
    try:
        return Entry.model_validate(_read(memory).get(key, {}))
    except ValidationError:
        return Entry()


def remember(memory: Path, key: str, entry: Entry) -> bool:
    """Keep `entry` under `key`, beside what the file holds; whether that could be done."""
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_json(memory, {**_read(memory), key: entry.model_dump(mode="json")})
    except OSError:
        return False
    return True


def _read(memory: Path) -> dict[str, Any]:
    try:
        found = read_json(memory)
    except ToyNetError:
        return {}
    return found if isinstance(found, dict) else {}
