"""`toynet report`"""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example:  toynet report quickstart -o quickstart.html"


def report(
    name: Annotated[
        str, typer.Argument(metavar="STUDY|RUN", help="A study's or a run's name, or the path of its folder.")
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
    """Make one page of a study or a run: the answer first, then all that it rests on. Needs no network."""
    # Not by way of the API, which loads torch: a page needs none.
    from toynet.core import places
    from toynet.report.subject import write_report

    print(write_report(name, output, runs=places.runs_folder(), studies=places.studies_folder()))
