"""What a study has done, in one journal: a line for the plan and one for each run.

journal.jsonl   flushed to the disk line by line, each with a CRC (those of older versions have none); a torn
                last line is left out when it is read
runs/ARM-sSEED  the run folders, each with a sealed result.json

Either rebuilds the other's figures: a line of a run holds all that an analysis needs, the correctness of
every validation image among it; and a run that was sealed but not journaled is found on the disk.
"""

import base64
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from toynet.core.disk import disk_errors
from toynet.core.environment import fingerprint
from toynet.core.errors import ToyNetError
from toynet.core.files import append_json_line, read_json_lines
from toynet.core.records import Record
from toynet.runs.folder import RunFolder

FORMAT = 2
"""The version of the journal's lines; a plan without a number is of the first. The second may have `cpu_s` in
runs, and `seen`, `tuning` and `vary_split` in plans."""

_KEYS = {"format", "plan", "run"}

Outcome = Literal["finished", "stopped_early", "diverged", "failed"]


Part = Literal["val", "test"]
"""Which images score a run."""


TIMED = frozenset({"train_s", "whole_s", "cpu_s", "images_per_s"})
"""What differs between runs that are the same."""


class Entry(Record):
    """One run of one arm with one seed. Accuracies are fractions; none for a run that gave no score."""

    arm: str
    seed: int
    outcome: Outcome
    reason: str | None = None
    val_accuracy: float | None = None
    val_loss: float | None = None
    best_val_accuracy: float | None = None
    test_accuracy: float | None = None
    test_loss: float | None = None
    epochs: int = 0
    train_s: float = 0.0
    whole_s: float = 0.0
    """From the start of the run to its sealed result."""

    cpu_s: float | None = None
    """Processor time of all of it, which other work does not lengthen; none where a GPU computed, and for
    runs made in pieces."""

    images_per_s: float = 0.0
    parameters: int = 0
    macs: int = 0
    threads: int = 1
    machine: str = ""
    """Processor, vector extensions, torch, precision: what must be equal within a block."""

    correct: str = ""
    """Whether each image of the part that scores was classified rightly: packed to bits, base64."""

    images: int = 0

    def correctness(self) -> NDArray[np.bool_]:
        """(images,)"""
        packed = np.frombuffer(base64.b64decode(self.correct), np.uint8)
        return np.unpackbits(packed, count=self.images).astype(bool)

    def score(self, metric: str) -> float | None:
        """As a fraction; none for a run that gave none."""
        found: float | None = getattr(self, metric)
        return found if self.outcome in ("finished", "stopped_early") else None


def pack(correct: NDArray[np.bool_]) -> str:
    """What `Entry.correctness` unpacks."""
    return base64.b64encode(np.packbits(correct).tobytes()).decode()


def sealed(
    arm: str, folder: RunFolder, part: Part, *, whole_s: float | None = None, cpu_s: float | None = None
) -> Entry:
    """The entry of a run that is finished. whole_s, cpu_s: as they were measured, if that was all of it.

    Raises `ToyNetError` for a run that is not finished.
    """
    result = folder.result()
    if result is None:
        raise ToyNetError(f"run {folder.name} is not finished; go on with it by toynet train --resume")
    correct = np.zeros(0, bool) if result.status == "diverged" else _correct(folder, part)
    return Entry(
        arm=arm,
        seed=result.seed,
        outcome=result.status,
        reason=result.reason,
        val_accuracy=result.val_accuracy,
        val_loss=result.val_loss,
        best_val_accuracy=result.best_val_accuracy,
        test_accuracy=result.test_accuracy,
        test_loss=result.test_loss,
        epochs=result.epochs,
        train_s=result.train_s,
        whole_s=max(result.train_s, whole_s or 0.0),
        cpu_s=cpu_s,
        images_per_s=result.images_per_s,
        parameters=result.parameters,
        macs=result.macs,
        threads=result.threads,
        machine=f"{fingerprint(folder.environment())}, {result.precision}",
        correct=pack(correct),
        images=len(correct),
    )


def _correct(folder: RunFolder, part: Part) -> NDArray[np.bool_]:
    """(images,)"""
    arrays = folder.predictions()
    return np.asarray(arrays[f"{part}_logits"].argmax(axis=1) == arrays[f"{part}_labels"])


class Ledger:
    """The journal of one study. Later lines about the same run replace earlier ones."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal.jsonl"

    def write_plan(self, plan: dict[str, Any]) -> None:
        """The frozen plan, before the first run."""
        self._append({"format": FORMAT, "plan": plan})

    def write_run(self, entry: Entry) -> None:
        self._append({"run": entry.model_dump(mode="json")})

    def plans(self) -> list[dict[str, Any]]:
        """The plan, and after it each that asked for more seeds; the last one holds."""
        found = [line["plan"] for line in self._lines() if "plan" in line]
        return [plan for number, plan in enumerate(found) if plan not in found[:number]]

    def entries(self) -> dict[tuple[str, int], Entry]:
        """Every run by arm and seed."""
        return {(entry.arm, entry.seed): entry for entry in self._runs()}

    def repeated(self) -> set[tuple[str, int]]:
        """Runs that had failed and were made again."""
        lines = [(entry.arm, entry.seed, entry.outcome) for entry in self._runs()]
        failed = {
            (arm, seed): place for place, (arm, seed, outcome) in enumerate(lines) if outcome == "failed"
        }
        return {
            (arm, seed)
            for place, (arm, seed, _) in enumerate(lines)
            if place > failed.get((arm, seed), place)
        }

    def _append(self, line: dict[str, Any]) -> None:
        with disk_errors(self.path.parent, needed_bytes=len(str(line))):
            append_json_line(self.path, line, checked=True)

    def _runs(self) -> list[Entry]:
        try:
            return [Entry.model_validate(line["run"]) for line in self._lines() if "run" in line]
        except ValidationError as error:
            raise ToyNetError(f"{self.path} is damaged ({error.errors()[0]['msg']})") from None

    def _lines(self) -> list[dict[str, Any]]:
        """Raises `ToyNetError` that numbers a damaged line; the runs that it may have told lie in runs/."""
        try:
            lines = read_json_lines(self.path)
        except ToyNetError as error:
            raise ToyNetError(f"{error}, and go on with --resume: runs are read again from runs/") from error
        for number, line in enumerate(lines, start=1):
            if not isinstance(line, dict) or not line.keys() <= _KEYS:
                raise ToyNetError(f"{self.path} is damaged: record {number} is neither a plan nor a run")
            if isinstance(line.get("format"), int) and line["format"] > FORMAT:
                raise ToyNetError(
                    f"{self.path} was written by a newer ToyNet (format {line['format']}, this one reads up "
                    f"to {FORMAT}); update it: pip install -U toynet-lab"
                )
        return lines
