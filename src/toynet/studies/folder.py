"""A study on disk, and all that is known of it: the plan, the runs, and what they say."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from toynet.core.errors import ToyNetError, UsageError, did_you_mean
from toynet.runs.folder import RunFolder
from toynet.studies import analysis
from toynet.studies.analysis import Findings
from toynet.studies.ledger import Entry, Ledger
from toynet.studies.plan import Plan

_LONGEST = 80
_LARGEST_JOURNAL = 64 * 2**20


@dataclass(frozen=True)
class Account:
    """A study as a report tells it. `runs`: the folders that are still there, by arm and seed."""

    name: str
    path: Path | None
    """None for runs that were made one by one and only compared as a study."""

    plan: Plan
    entries: Mapping[tuple[str, int], Entry]
    findings: Findings
    runs: Mapping[tuple[str, int], RunFolder]


@dataclass(frozen=True)
class StudyFolder:
    """journal.jsonl is what was planned and done, runs/ the runs. Nothing is cached."""

    path: Path

    @classmethod
    def open(cls, name: str | Path, root: Path) -> "StudyFolder":
        """The study called `name` below `root`, or at that path. Raises `UsageError` naming the nearest."""
        for path in (root / name, Path(name)):
            if (path / "journal.jsonl").exists():
                return cls(path)
        known = [entry.parent.name for entry in root.glob("*/journal.jsonl")]
        hint = did_you_mean(str(name), known) if known else "there are none yet; make one with toynet study"
        raise UsageError(f"there is no study {name} in {root}; {hint}")

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.path)

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    def has_runs(self) -> bool:
        """Whether any run has been begun."""
        return self.runs.is_dir() and any(self.runs.iterdir())

    def run(self, arm: str, seed: int) -> RunFolder:
        """Where a run of the study lies, whether it has been made or not."""
        return RunFolder(self.runs / f"{_folder_name(arm)}-s{seed}")

    def final(self, variant: str) -> "StudyFolder":
        """Where the final claim of a variant lies, whether it has been made or not."""
        return StudyFolder(self.path / f"final-{_folder_name(variant)}")

    def finals(self) -> list["StudyFolder"]:
        """The final claims that have been begun."""
        return [StudyFolder(path.parent) for path in sorted(self.path.glob("final-*/journal.jsonl"))]

    def neighbours(self) -> Iterator["StudyFolder"]:
        """This study, where it has a journal, then those beside it; not those too large to look through."""
        journals = self.path.parent.glob("*/journal.jsonl")
        for journal in sorted(journals, key=lambda journal: (journal.parent != self.path, journal)):
            if journal.stat().st_size <= _LARGEST_JOURNAL:
                yield StudyFolder(journal.parent)

    def plans(self) -> list[Plan]:
        """The plan, then each that asked for more seeds. Raises `ToyNetError` where there is none."""
        try:
            found = [Plan.model_validate(line) for line in self.ledger.plans()]
        except ValidationError as error:
            raise ToyNetError(
                f"{self.ledger.path}: the plan is damaged ({error.errors()[0]['msg']})"
            ) from None
        if not found:
            raise ToyNetError(f"{self.path} holds no study; there is no plan in {self.ledger.path.name}")
        return found

    def account(self) -> Account:
        """All that the runs so far say."""
        plans, entries = self.plans(), self.ledger.entries()
        plan = plans[-1]
        found = analysis.analyse(plan, entries, earlier=plans[:-1], repeated=self.ledger.repeated())
        runs = {key: run for key in entries if (run := self.run(*key)).path.exists()}
        return Account(self.name, self.path, plan, entries, found, runs)


def _folder_name(arm: str) -> str:
    """Letters that every file system takes, and not too many; a digest where that leaves something out."""
    name = arm.replace(" ", "+")
    safe = re.sub(r"[^A-Za-z0-9._+=-]", "_", name)[:_LONGEST]
    return name if name == safe else f"{safe}-{hashlib.sha256(arm.encode()).hexdigest()[:8]}"
