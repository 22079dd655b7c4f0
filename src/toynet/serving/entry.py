"""The verb that serves."""

from collections.abc import Callable
from pathlib import Path

from toynet.core.errors import ToyNetError

PORT = 8321


def serve(
    runs: str | Path | None = None,
    studies: str | Path | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    announce: Callable[[str], None] | None = None,
) -> int:
    """Show runs, studies and models in the browser until a signal comes; returns its number.

    `runs` and `studies` are folders; by default those that training and studies use. `announce` gets the
    address once it can be asked; `port` 0 takes any that is free. Any host but this one lets other machines
    in. Call it from the main thread. Raises `ToyNetError` and its kinds.
    """
    try:
        import fastapi  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ToyNetError(
            f"serving needs {error.name}; install it by pip install 'toynet-lab[serve]'"
        ) from None
    from toynet.serving import server
    from toynet.serving.listing import Listing

    listing = Listing.open(*(None if folder is None else Path(folder) for folder in (runs, studies)))
    return server.serve(listing, host, port, announce or _nobody)


def _nobody(address: str) -> None:
    """Who asked for a port knows the address."""
