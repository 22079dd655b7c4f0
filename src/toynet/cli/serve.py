"""`toynet serve`"""

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example:  toynet serve --port 8321"
_USUAL_PORT = 8321


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
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free.")] = _USUAL_PORT,
) -> None:
    """Show runs, studies and models in the browser, and classify pictures there, until Ctrl-C."""
    from toynet.core.errors import ToyNetError

    try:
        import fastapi  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ToyNetError(
            f"serving needs {error.name}; install it by pip install 'toynet-lab[serve]'"
        ) from None
    from toynet.serving.listing import Listing
    from toynet.serving.server import serve as serve_until_signal

    listing = Listing.open(runs, studies)
    number = serve_until_signal(listing, host, port, lambda address: print(address, flush=True))
    raise typer.Exit(128 + number)
