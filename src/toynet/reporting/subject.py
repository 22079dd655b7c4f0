"""What a name means to `toynet report`: a study or a run; and its page, written."""

import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from toynet.core.errors import UsageError, did_you_mean
from toynet.reporting.run_page import run_page
from toynet.reporting.study_page import study_page
from toynet.reporting.templating import Page
from toynet.runs.folder import RunFolder
from toynet.studies.folder import Account, StudyFolder
from toynet.studies.gather import gather


def write_report(names: Sequence[str | Path], output: Path | None, *, runs: Path, studies: Path) -> Path:
    """Write the page of the study below `studies`, else of the run below `runs`, that is called so, or of the
    folder at that path; of several runs, the page of their comparison. FILE.md goes beside FILE.html.
    Returns the HTML's path.

    Raises `UsageError` for a name that is neither and for an output that is not .html, `ToyNetError` for
    what is damaged or has nothing to tell yet.
    """
    if len(names) > 1:
        account = gather([RunFolder.open(name, runs) for name in names])
        command = shlex.join(["toynet", "report", *map(str, names)])
        return write_comparison(account, command, output or Path("comparison.html"))
    found = _open(names[0], runs, studies)
    page = study_page(found.account()) if isinstance(found, StudyFolder) else run_page(found)
    return _write(page, output or found.path / "report.html")


def write_comparison(account: Account, command: str, path: Path) -> Path:
    """The page of runs that were compared by `command`; returns `path`."""
    return _write(study_page(account, command), path)


def _write(page: Page, path: Path) -> Path:
    if path.suffix.lower() != ".html":
        raise UsageError(f"{path}: a report is written as .html, with the Markdown beside it")
    path.parent.mkdir(parents=True, exist_ok=True)
    return page.write(path)


def _open(name: str | Path, runs: Path, studies: Path) -> StudyFolder | RunFolder:
    found: list[StudyFolder | RunFolder] = []
    for opened, root in ((StudyFolder.open, studies), (RunFolder.open, runs)):
        with suppress(UsageError):
            found.append(opened(name, root))
    if len(found) == 2:
        raise UsageError(f"{name} is a study and a run; give a path: {found[0].path} or {found[1].path}")
    if found:
        return found[0]
    if (runs / name).is_dir():
        return RunFolder.open(name, runs)  # which says what is wrong with it
    known = [entry.parent.name for entry in studies.glob("*/journal.jsonl")]
    known += [entry.parent.name for entry in runs.glob("[!.]*/recipe.toml")]
    hint = (
        did_you_mean(str(name), known) if known else "there are none yet; make one with toynet study or train"
    )
    raise UsageError(f"there is no study {name} in {studies} and no run in {runs}; {hint}")
