"""All that the pages and the API share, made once for a server."""

import asyncio
from dataclasses import dataclass

from toynet.runs.folder import RunFolder
from toynet.serving.listing import Listing
from toynet.serving.models import Model, Shelf
from toynet.serving.refusals import Refusal, busy
from toynet.serving.remembered import Remembered
from toynet.serving.runs import Runs
from toynet.serving.studies import Studies
from toynet.serving.uploads import Uploads
from toynet.serving.workshop import Workshop

PICTURE_S = 5.0
"""To decode and classify one picture."""

DRAWING_S = 60.0
_LOADING_S = 30.0
_PICTURES_AT_ONCE = 16
_MODELS = 4
_SUMMARIES = 5000
_ACCOUNTS = 32
_DRAWINGS = 16


@dataclass(frozen=True)
class House:
    """`pictures` are classified and `drawings` made in threads of their own: neither holds up a page."""

    runs: Runs
    studies: Studies
    shelf: Shelf
    uploads: Uploads
    pictures: Workshop
    drawings: Workshop
    drawn: Remembered

    @classmethod
    def build(cls, listing: Listing) -> "House":
        runs = Runs(listing, Remembered(_SUMMARIES))
        return cls(
            runs=runs,
            studies=Studies(listing, Remembered(_ACCOUNTS), runs),
            shelf=Shelf(_MODELS),
            uploads=Uploads(),
            pictures=Workshop("reading and classifying this picture", workers=2, places=_PICTURES_AT_ONCE),
            drawings=Workshop("drawing this page", workers=1, places=8),
            drawn=Remembered(_DRAWINGS),
        )

    async def model(self, folder: RunFolder) -> Model:
        """The run's model, loaded if need be. Raises `ToyNetError` where it has none, `Refusal` (503) where
        loading takes too long."""
        future = self.shelf.ask(folder)
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), _LOADING_S)
        except TimeoutError:
            raise Refusal(503, f"the model of {folder.name} is still being loaded", retry_s=5) from None
        except asyncio.CancelledError:
            if future.cancelled():  # others wanted other models meanwhile
                raise busy() from None
            raise
