"""The verb about what can be read: report."""

from collections.abc import Sequence
from pathlib import Path

from toynet.core import places
from toynet.core.errors import UsageError
from toynet.reporting import subject


def report(
    names: str | Path | Sequence[str | Path],
    output: str | Path | None = None,
    *,
    root: Path | None = None,
    studies_root: Path | None = None,
) -> Path:
    """One self-contained page of a study, of a run, or of several runs compared, and the same as Markdown
    beside it; returns its path.

    It goes to `output`, else to report.html in the study's or the run's folder, for several runs to
    ./comparison.html. Raises `ToyNetError` and its kinds.
    """
    runs, studies = root or places.runs_folder(), studies_root or places.studies_folder()
    if not isinstance(names, str | Path) and not names:
        raise UsageError("report: name a study, a run, or several runs")
    several = [names] if isinstance(names, str | Path) else names
    return subject.write_report(several, None if output is None else Path(output), runs=runs, studies=studies)
