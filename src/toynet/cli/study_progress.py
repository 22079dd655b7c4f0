"""A study as it goes: one table that is redrawn on a terminal, a line for each run elsewhere."""

import statistics
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

from rich.live import Live
from rich.table import Table
from rich.text import Text

from toynet.cli import study_plan
from toynet.cli.progress import TerminalReporter
from toynet.core.wording import counted, duration
from toynet.studies.folder import Account
from toynet.studies.jobs import Job
from toynet.studies.ledger import Entry
from toynet.studies.outlook import Outlook
from toynet.studies.plan import Plan

_LATEST = 6
"""Runs whose pace is taken for that of those to come: few, since a machine's other work changes."""


class StudyReporter(TerminalReporter):
    """An `Audience` that draws. Used as a context."""

    def __init__(self) -> None:
        super().__init__()
        self._plan: Plan | None = None
        self._live: Live | None = None
        self._words: dict[str, str] = {}
        self._scores: dict[str, list[float]] = {}
        self._failed: dict[str, int] = {}
        self._running: dict[tuple[str, int], float] = {}
        self._paces: list[float] = []
        self._waiting: set[tuple[str, int]] = set()
        self._jobs = 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        super().__exit__(kind, error, trace)

    def planned(self, plan: Plan, jobs: int, ahead: Outlook) -> None:
        """Say what each arm changes, what the plan can see, and how long it will take."""
        self._plan, self._jobs = plan, jobs
        for line in study_plan.lines(plan, jobs):
            self.note(line)
        self.note(str(ahead))
        if self._bar is not None:
            self._bar.stop()
            self._live = Live(self._table(), console=self._console, refresh_per_second=2, transient=True)
            self._live.start()

    def scheduled(self, jobs: Sequence[Job], known: Mapping[tuple[str, int], Entry]) -> None:
        """Count anew from all runs known so far, so that a resumed study shows what it has already."""
        self._waiting = {(job.arm, job.seed) for job in jobs}
        self._scores, self._failed, self._paces = {}, {}, []
        for key, entry in known.items():
            if key not in self._waiting:  # such a run is tried again
                self._count(entry)
        self._draw()

    def began(self, job: Job) -> None:
        self._running[job.arm, job.seed] = time.monotonic()
        self._draw()

    def ended(self, entry: Entry) -> None:
        self._running.pop((entry.arm, entry.seed), None)
        self._waiting.discard((entry.arm, entry.seed))
        self._count(entry)
        found = self._score(entry)
        score = "" if found is None else f"{found:.2f} %"
        reason = f"  {entry.outcome}: {entry.reason}" if entry.reason else ""
        if self._live is None:
            left = self._left()
            self.note(f"{entry.arm}, seed {entry.seed}: {score}  {entry.whole_s:.0f} s{reason}{left}")
        elif reason:
            self.note(f"{entry.arm}, seed {entry.seed}:{reason}")
        self._draw()

    def looked(self, account: Account) -> None:
        """Show what each arm's interval says so far."""
        findings = account.findings
        for arm in account.plan.arms[1:]:
            contrast = findings.contrast(arm.name)
            if contrast is None:
                continue
            low, high = contrast.interval.low, contrast.interval.high
            running = " · goes on" if arm.name in findings.running else ""
            told = f"{contrast.difference:+.2f} [{low:+.2f}, {high:+.2f}] {contrast.verdict}{running}"
            self._words[arm.name] = told
            if self._live is None:
                self.note(f"after {contrast.seeds} seeds, {arm.name}: {told}")
        self._draw()

    def note(self, text: str) -> None:
        if self._live is not None:
            self._live.console.print(text, markup=False)
        else:
            super().note(text)

    def _score(self, entry: Entry) -> float | None:
        """In percent, by the study's metric."""
        assert self._plan is not None
        value = entry.score(self._plan.spec.metric)
        return None if value is None else 100 * value

    def _count(self, entry: Entry) -> None:
        score = self._score(entry)
        if score is None:
            self._failed[entry.arm] = self._failed.get(entry.arm, 0) + 1
            return
        self._scores.setdefault(entry.arm, []).append(score)
        self._paces.append(entry.whole_s / self._work(entry.arm))

    def _work(self, arm: str) -> int:
        """Of one run, in multiply-adds of its forward passes."""
        assert self._plan is not None
        size = self._plan.sizes[arm]
        return size.macs * size.samples

    def _left(self) -> str:
        """How long the runs that are scheduled will still take, at the pace of the latest ones."""
        if not self._paces or not self._waiting:
            return ""
        pace, now = statistics.median(self._paces[-_LATEST:]), time.monotonic()
        left_s = sum(
            max(0.0, pace * self._work(arm) - (now - self._running.get((arm, seed), now)))
            for arm, seed in self._waiting
        )
        to_go = counted(len(self._waiting), "run")
        return f"  ({to_go} to go, about {duration(left_s / self._jobs)})"

    def _draw(self) -> None:
        if self._live is not None:
            self._live.update(self._table())

    def _table(self) -> Table:
        assert self._plan is not None
        spec = self._plan.spec
        table = Table(title=Text(f"{spec.question or spec.name}{self._left()}"), title_justify="left")
        for column in ("arm", "seeds", "mean %", "sd", "difference and 95 % interval, points"):
            table.add_column(column, justify="left" if column.startswith(("arm", "difference")) else "right")
        for arm in self._plan.arms:
            scores, failed = self._scores.get(arm.name, []), self._failed.get(arm.name, 0)
            busy = sum(name == arm.name for name, _ in self._running)
            done = [str(len(scores))]
            done += [f"+ {busy} running"] if busy else []
            done += [f"{failed} failed"] if failed else []
            table.add_row(
                Text(arm.name),
                " ".join(done),
                f"{statistics.mean(scores):.2f}" if scores else "",
                f"{statistics.stdev(scores):.2f}" if len(scores) > 1 else "",
                Text(self._words.get(arm.name, "")),
            )
        return table
