"""Progress on stderr: one bar on a terminal, plain lines elsewhere; `NO_COLOR` is honoured by rich."""

import sys
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from toynet.core.records import EpochRecord
from toynet.core.wording import nats

_PLAIN_EVERY_S = 10.0


class TerminalReporter:
    """A `Reporter` that draws. Used as a context, so that the bar is gone when it ends."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._done, self._total, self._unit, self._name = 0, 0, "", ""
        self._started = self._spoken = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.fields[rate]}", markup=False),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def begin(self, task: str, total: int, unit: str) -> None:
        self._name, self._total, self._unit, self._done = task, total, unit, 0
        self._started = self._spoken = time.monotonic()
        if self._bar is not None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(task, total=total or None, rate="")

    def advance(self, units: int) -> None:
        self._done += units
        now = time.monotonic()
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=units, rate=self._rate(now))
        elif now - self._spoken > _PLAIN_EVERY_S:
            self._spoken = now
            share = f"{100 * self._done / self._total:.0f} %" if self._total else f"{self._done} {self._unit}"
            self._say(f"{self._name}: {share}, {self._rate(now)}")

    def epoch(self, record: EpochRecord, planned_epochs: int) -> None:
        parts = [
            f"epoch {record.epoch:>3}/{planned_epochs}",
            f"train {100 * record.train_accuracy:5.2f} % {nats(record.train_loss)}",
        ]
        if record.val_accuracy is not None and record.val_loss is not None:
            parts.append(f"val {100 * record.val_accuracy:5.2f} % {nats(record.val_loss)}")
        parts.append(f"lr {record.lr:.2e}")
        parts.append(f"{record.images_per_s:,.0f} images/s")
        self.note("  ".join(parts))

    def note(self, text: str) -> None:
        if self._bar is not None:
            self._console.print(text, markup=False)
        else:
            self._say(text)

    def _say(self, text: str) -> None:
        with suppress(OSError):  # a reader that has gone must not end a training
            print(text, file=sys.stderr, flush=True)

    def _rate(self, now: float) -> str:
        rate = self._done / max(now - self._started, 1e-9)
        if self._unit == "bytes":
            return f"{rate / 2**20:.1f} MB/s"
        return f"{rate:,.0f} {self._unit}/s"
