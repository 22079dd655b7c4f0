"""A study on disk, and all that is known of it: the plan, the runs, and what they say."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from toynet.core.errors import ToyNetError, UsageError, did_you_mean
from toynet.core.records import Record
from toynet.runs.folder import RunFolder
from toynet.studies import analysis
from toynet.studies.analysis import Findings
from toynet.studies.design import Arm, Size
from toynet.studies.ledger import Entry, Ledger
from toynet.studies.spec import StudySpec


class Plan(Record):
    """What is frozen before the first run: it is journaled, and a study goes on only with the same."""

    spec: StudySpec
    arms: tuple[Arm, ...]
    sizes: dict[str, Size]
    classes: int
    digest: str
    """Of all the images."""

    @property
    def control(self) -> Arm:
        return self.arms[0]

    def arm(self, name: str) -> Arm:
        """Raises `UsageError` that names the nearest one."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        known = [arm.name for arm in self.arms]
        raise UsageError(f"study {self.spec.name} has no arm {name}; {did_you_mean(name, known)}")


@dataclass(frozen=True)
class Account:
    """A study as a report tells it. `runs`: the folders that are still there, by arm and seed."""

    name: str
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

    def run(self, arm: str, seed: int) -> RunFolder:
        """Where a run of the study lies, whether it has been made or not."""
        return RunFolder(self.runs / f"{arm.replace(' ', '+')}-s{seed}")

    def plan(self) -> Plan:
        """Raises `ToyNetError` where nothing has been planned."""
        found = self.ledger.plan()
        if found is None:
            raise ToyNetError(f"{self.path} holds no study; there is no plan in {self.ledger.path.name}")
        return Plan.model_validate(found)

    def account(self) -> Account:
        """All that the runs so far say."""
        plan, entries = self.plan(), self.ledger.entries()
        found = analysis.analyse(plan.spec, plan.arms, plan.sizes, entries, classes=plan.classes)
        runs = {key: run for key in entries if (run := self.run(*key)).path.exists()}
        return Account(self.name, plan, entries, found, runs)
