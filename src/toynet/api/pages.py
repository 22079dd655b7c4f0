"""The verb about what can be read: report."""

from pathlib import Path

from toynet.core import places
from toynet.report import subject


def report(
    name: str | Path,
    output: str | Path | None = None,
    *,
    root: Path | None = None,
    studies_root: Path | None = None,
) -> Path:
    """One self-contained page of a study or a run, and the same as Markdown beside it; returns its path.

    It goes to `output`, else to report.html in the study's or the run's folder. Raises `ToyNetError` and its
    kinds.
    """
    runs, studies = root or places.runs_folder(), studies_root or places.studies_folder()
    return subject.write_report(name, None if output is None else Path(output), runs=runs, studies=studies)
