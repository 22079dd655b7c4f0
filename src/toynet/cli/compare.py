"""`toynet compare`"""

from shlex import join
from typing import Annotated

import typer

from toynet.cli import options

EXAMPLE = "Example:  toynet compare base-s0 base-s1 base-s2 wide-s0 wide-s1 wide-s2 --unequal parameters"


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="RUN RUN ...", help="Names or paths; the first one's recipe is the control."),
    ],
    margin: Annotated[
        float | None,
        typer.Option(help="The least difference that matters, in points of accuracy.", show_default=False),
    ] = None,
    unequal: Annotated[
        list[str] | None,
        typer.Option(help="A cost that may differ, such as parameters. Repeatable."),
    ] = None,
    output: options.Page = None,
    json: options.Json = False,
) -> None:
    """Compare runs that are there: those that differ in the seed only are replicates of one arm."""
    import toynet
    from toynet.cli.verdicts import print_account
    from toynet.reporting.subject import write_comparison

    found = toynet.compare(runs, margin=margin, unequal=unequal or ())
    page = None
    if output is not None:
        costs = [word for cost in unequal or () for word in ("--unequal", cost)]
        limit = [] if margin is None else ["--margin", f"{margin:g}"]
        page = write_comparison(found, join(["toynet", "compare", *runs, *limit, *costs]), output)
    print_account(found, page, json=json)
