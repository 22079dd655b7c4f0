"""What a study has done, in one journal: a line for the plan and one for each run.

journal.jsonl   flushed to the disk line by line; a torn last line is left out when it is read
runs/ARM-sSEED  the run folders, each with a sealed result.json

Either rebuilds the other's figures: a line of a run holds all that an analysis needs, the correctness of
every validation image among it; and a run that was sealed but not journaled is found on the disk.
"""

import base64
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from toynet.core.errors import ToyNetError
from toynet.core.files import append_json_line, read_json_lines
from toynet.core.records import Record, RunResult

Outcome = Literal["finished", "stopped_early", "diverged", "failed"]


class Entry(Record):
    """One run of one arm with one seed. Accuracies are fractions; none for a run that gave no score."""

    arm: str
    seed: int
    outcome: Outcome
    reason: str | None = None
    val_accuracy: float | None = None
    val_loss: float | None = None
    best_val_accuracy: float | None = None
    epochs: int = 0
    train_s: float = 0.0
    whole_s: float = 0.0
    """From the start of the run to its sealed result."""

    images_per_s: float = 0.0
    parameters: int = 0
    macs: int = 0
    threads: int = 1
    machine: str = ""
    """Processor, vector extensions, torch, precision: what must be equal within a block."""

    correct: str = ""
    """Whether each validation image was classified rightly, packed to bits, base64."""

    images: int = 0

    def correctness(self) -> NDArray[np.bool_]:
        """(images,)"""
        packed = np.frombuffer(base64.b64decode(self.correct), np.uint8)
        return np.unpackbits(packed, count=self.images).astype(bool)


def pack(correct: NDArray[np.bool_]) -> str:
    """What `Entry.correctness` unpacks."""
    return base64.b64encode(np.packbits(correct).tobytes()).decode()


def finished(
    arm: str, result: RunResult, *, machine: str, whole_s: float, correct: NDArray[np.bool_]
) -> Entry:
    """The entry of a sealed run."""
    return Entry(
        arm=arm,
        seed=result.seed,
        outcome=result.status,
        reason=result.reason,
        val_accuracy=result.val_accuracy,
        val_loss=result.val_loss,
        best_val_accuracy=result.best_val_accuracy,
        epochs=result.epochs,
        train_s=result.train_s,
        whole_s=whole_s,
        images_per_s=result.images_per_s,
        parameters=result.parameters,
        macs=result.macs,
        threads=result.threads,
        machine=machine,
        correct=pack(correct),
        images=len(correct),
    )


class Ledger:
    """The journal of one study. Later lines about the same run replace earlier ones."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal.jsonl"

    def write_plan(self, plan: dict[str, Any]) -> None:
        """The frozen plan, before the first run."""
        append_json_line(self.path, {"plan": plan})

    def write_run(self, entry: Entry) -> None:
        append_json_line(self.path, {"run": entry.model_dump(mode="json")})

    def plan(self) -> dict[str, Any] | None:
        """None while nothing has been journaled."""
        return next((line["plan"] for line in self._lines() if "plan" in line), None)

    def entries(self) -> dict[tuple[str, int], Entry]:
        """Every run by arm and seed."""
        return {(entry.arm, entry.seed): entry for entry in self._runs()}

    def _runs(self) -> list[Entry]:
        try:
            return [Entry.model_validate(line["run"]) for line in self._lines() if "run" in line]
        except ValidationError as error:
            raise ToyNetError(f"{self.path} is damaged ({error.errors()[0]['msg']})") from None

    def _lines(self) -> Iterable[dict[str, Any]]:
        lines = read_json_lines(self.path)
        if not all(isinstance(line, dict) for line in lines):
            raise ToyNetError(f"{self.path} is damaged: a line is not a record")
        return lines
