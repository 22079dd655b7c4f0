"""A run as the verbs take and give it."""

from dataclasses import dataclass
from pathlib import Path

from toynet.core import places
from toynet.core.records import RunResult
from toynet.runs.folder import RunFolder


@dataclass(frozen=True)
class Run:
    """A run on disk and, once it is finished, its result."""

    folder: RunFolder
    result: RunResult | None

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def path(self) -> Path:
        return self.folder.path


def open_run(run: str | Path | Run, *, root: Path | None = None) -> Run:
    """A run by name or path."""
    if isinstance(run, Run):
        return run
    folder = RunFolder.open(run, root or places.runs_folder())
    return Run(folder, folder.result())
