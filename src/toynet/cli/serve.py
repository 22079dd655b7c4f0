"""`toynet serve`"""

from pathlib import Path
from typing import Annotated

import typer

from toynet.serving.entry import PORT

EXAMPLE = "Example:  toynet serve --port 8321"


def serve(
    runs: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where the runs lie; else $TOYNET_RUNS or ./runs.", show_default=False
        ),
    ] = None,
    studies: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where the studies lie; else $TOYNET_STUDIES or ./studies.",
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="The address to listen on; any but this one lets other machines in.")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = PORT,
) -> None:
    """Show runs, studies and models in the browser, and classify pictures there, until Ctrl-C."""
    from toynet.serving.entry import serve as serve_until_signal

    number = serve_until_signal(
        runs, studies, host=host, port=port, announce=lambda address: print(address, flush=True)
    )
    raise typer.Exit(128 + number)
