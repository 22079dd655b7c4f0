"""What lies in the folders of runs and studies, by name.

A name that a client sends is only ever compared with the names that are there: no path is made from it.
A run of a study is called STUDY~RUN, a final claim STUDY~final-VARIANT; no folder that ToyNet makes has a ~.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from toynet.core import places
from toynet.core.errors import UsageError
from toynet.runs.folder import RunFolder
from toynet.serving.refusals import not_there
from toynet.studies.folder import StudyFolder

_RUN, _STUDY = "recipe.toml", "journal.jsonl"
_WITHIN = "~"


@dataclass(frozen=True)
class Listing:
    """The two roots; either may be missing. Nothing is cached."""

    runs_root: Path
    studies_root: Path

    @classmethod
    def open(cls, runs: Path | None, studies: Path | None) -> "Listing":
        """The usual places where none is named. Raises `UsageError` for a named one that is not there, and
        where there is neither."""
        for path, option in ((runs, "--runs"), (studies, "--studies")):
            if path is not None and not path.is_dir():
                raise UsageError(f"{option} {path}: there is no such folder")
        found = cls(runs or places.runs_folder(), studies or places.studies_folder())
        if not found.runs_root.is_dir() and not found.studies_root.is_dir():
            raise UsageError(
                f"there is no folder {found.runs_root} and none {found.studies_root}; name one by --runs, or "
                "make a run: toynet train quick"
            )
        return found

    def runs(self) -> dict[str, RunFolder]:
        """Those that were made one by one, the newest first."""
        return {name: RunFolder(path) for name, path in _newest_first(self.runs_root, _RUN)}

    def studies(self) -> dict[str, StudyFolder]:
        """The newest first, final claims not among them."""
        return {name: StudyFolder(path) for name, path in _newest_first(self.studies_root, _STUDY)}

    def run(self, name: str) -> RunFolder:
        """Raises `Refusal` (404)."""
        study, within, run = name.partition(_WITHIN)
        path = _folders(self.runs_root).get(name)
        if path is None and within:
            above = _folders(self.studies_root).get(study)
            path = None if above is None else _folders(StudyFolder(above).runs).get(run)
        if path is None or not (path / _RUN).exists():
            raise not_there("run", name)
        return RunFolder(path)

    def study(self, name: str) -> StudyFolder:
        """Raises `Refusal` (404)."""
        study, within, final = name.partition(_WITHIN)
        path = _folders(self.studies_root).get(name)
        if path is None and within:
            above = _folders(self.studies_root).get(study)
            path = None if above is None else _folders(above).get(final)
        if path is None or not (path / _STUDY).exists():
            raise not_there("study", name)
        return StudyFolder(path)


def within(study: str, name: str) -> str:
    """What a run or a final claim of `study` is called here."""
    return f"{study}{_WITHIN}{name}"


def _newest_first(root: Path, mark: str) -> list[tuple[str, Path]]:
    """Folders that hold `mark`, by when it was last written."""
    found = []
    for name, path in _folders(root).items():
        try:
            found.append(((path / mark).stat().st_mtime_ns, name, path))
        except OSError:
            continue  # no run, or one that has just been moved away
    return [(name, path) for _, name, path in sorted(found, reverse=True)]


def _folders(root: Path) -> dict[str, Path]:
    """The folders in `root` by name, hidden ones left out; none where there is no such folder."""
    try:
        with os.scandir(root) as entries:
            return {
                entry.name: root / entry.name
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir()
            }
    except OSError:
        return {}
