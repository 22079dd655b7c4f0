"""Studies as the pages and the API show them: what they say so far, and each of their runs."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from toynet.core.locks import is_held
from toynet.reporting import story
from toynet.reporting.story import Story
from toynet.serving.answers import (
    Arm,
    Bounds,
    Cell,
    CellStatus,
    StudyDetail,
    StudyList,
    StudyStatus,
    StudySummary,
)
from toynet.serving.listing import Listing, within
from toynet.serving.remembered import Remembered, state_of
from toynet.serving.runs import Runs, damage, written
from toynet.studies import analysis
from toynet.studies.folder import Account, StudyFolder

_JOURNAL = "journal.jsonl"
_STATUS: dict[str, CellStatus] = {"running": "running", "finished": "running", "stopped": "stopped"}


@dataclass(frozen=True)
class Studies:
    """Reads studies' journals; a journal that has not grown is not read again."""

    listing: Listing
    remembered: Remembered
    runs: Runs

    def page(self, offset: int, limit: int) -> StudyList:
        """A part of the list, the newest first."""
        folders = list(self.listing.studies().items())
        shown = [self.summary(name, folder) for name, folder in folders[offset : offset + limit]]
        return StudyList(total=len(folders), studies=tuple(shown))

    def summary(self, name: str, folder: StudyFolder) -> StudySummary:
        """Never raises: a damaged study is one whose status says so."""
        try:
            account, _ = self.told(folder)
            return StudySummary(**_summary(name, folder, account))
        except Exception as error:
            return StudySummary(
                name=name, status="damaged", changed=_changed(folder), damage=damage(folder.path, error)
            )

    def detail(self, name: str) -> StudyDetail:
        """With the table of its runs. Raises `Refusal` (404)."""
        folder = self.listing.study(name)
        try:
            account, told = self.told(folder)
            return self._detail(name, folder, account, told)
        except Exception as error:
            return StudyDetail(
                name=name, status="damaged", changed=_changed(folder), damage=damage(folder.path, error)
            )

    def told(self, folder: StudyFolder) -> tuple[Account, Story]:
        """The study's account and what its page says. Raises `ToyNetError` where its journal is damaged."""

        def make() -> tuple[Account, Story]:
            account = folder.account()
            return account, story.tell(account)

        return self.remembered.recall(("study", folder.path), state_of(folder.path, _JOURNAL), make)

    def _detail(self, name: str, folder: StudyFolder, account: Account, told: Story) -> StudyDetail:
        seeds = _seeds(account)
        lines = {row.arm.name: row for row in told.rows}
        table = []
        for arm in account.plan.arms:
            row = lines.get(arm.name)
            contrast = row.contrast if row else None
            table.append(
                Arm(
                    name=arm.name,
                    against=arm.against,
                    changes=tuple(map(str, arm.changes)),
                    verdict=row.line.verdict if row else None,
                    difference=contrast.difference if contrast else None,
                    interval=Bounds(low=contrast.interval.low, high=contrast.interval.high)
                    if contrast
                    else None,
                    cells=tuple(self._cell(name, folder, account, arm.name, seed) for seed in seeds),
                )
            )
        return StudyDetail(
            **_summary(name, folder, account),
            metric=account.plan.spec.metric,
            answers=tuple("".join(piece.text for piece in one) for one in told.answers),
            seeds=seeds,
            table=tuple(table),
        )

    def _cell(self, name: str, folder: StudyFolder, account: Account, arm: str, seed: int) -> Cell:
        entry, run = account.entries.get((arm, seed)), folder.run(arm, seed)
        epochs = account.plan.arm(arm).recipe.train.epochs
        begun = run.path.exists()
        key = within(name, run.path.name) if begun and "~" not in name else None
        if entry is not None:
            score = story.score(account, entry)
            return Cell(
                seed=seed,
                status=entry.outcome,
                score=score,
                epochs=entry.epochs,
                planned_epochs=epochs,
                run=key,
            )
        if not begun:
            return Cell(seed=seed, status="planned", planned_epochs=epochs)
        summary = self.runs.summary(key or run.name, run)
        score = None if summary.val_accuracy is None else 100 * summary.val_accuracy
        status = _STATUS.get(summary.status, "failed")
        return Cell(
            seed=seed, status=status, score=score, epochs=summary.epochs, planned_epochs=epochs, run=key
        )


def _summary(name: str, folder: StudyFolder, account: Account) -> dict[str, object]:
    ended = len(account.entries)
    wanted = len(set(account.entries) | set(_planned(account)))
    return {
        "name": name,
        "status": _status(folder, account),
        "changed": _changed(folder),
        "question": account.plan.spec.question.strip() or None,
        "arms": len(account.plan.arms),
        "runs": ended,
        "planned_runs": wanted,
    }


def _status(folder: StudyFolder, account: Account) -> StudyStatus:
    if is_held(folder.path):
        return "running"
    return "finished" if account.findings.next_look is None else "stopped"


def _planned(account: Account) -> Iterable[tuple[str, int]]:
    """The runs up to the next look, of the arms that go on to it."""
    spec, findings = account.plan.spec, account.findings
    count = findings.next_look or analysis.first_look(spec)
    arms = findings.running if findings.next_look else [arm.name for arm in account.plan.arms]
    return ((arm, spec.first_seed + place) for arm in arms for place in range(count))


def _seeds(account: Account) -> tuple[int, ...]:
    return tuple(sorted({seed for _, seed in (*account.entries, *_planned(account))}))


def _changed(folder: StudyFolder) -> datetime:
    return written(folder.path / _JOURNAL)
