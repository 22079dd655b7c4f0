"""`toynet report`"""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example:  toynet report quickstart -o quickstart.html"


def report(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="STUDY|RUN [RUN ...]",
            help="A study, a run, or runs to compare: names, or paths of folders.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE.html",
            help="Where the page goes, with FILE.md beside it; else report.html in the folder.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Make one page of a study, a run or several runs: the answer first, then what it rests on."""
    # Not by way of the API, which loads torch: a page needs none.
    from toynet.core import places
    from toynet.reporting.subject import write_report

    print(write_report(names, output, runs=places.runs_folder(), studies=places.studies_folder()))
