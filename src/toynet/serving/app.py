"""The application: guard, API, pages, and one answer for every failure."""

from collections.abc import Mapping
from importlib.metadata import version

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from toynet.core.errors import ToyNetError
from toynet.serving import api, pages
from toynet.serving.answers import Failure
from toynet.serving.guard import Guard
from toynet.serving.house import House
from toynet.serving.listing import Listing
from toynet.serving.refusals import Refusal

_ABOUT = """Runs, studies and models of this machine, and a classifier for pictures.

Names are those of the lists. An error is `{"error": "one sentence"}`. Nothing that is sent is kept.
"""
_SENTENCES = {404: "there is nothing at this address", 405: "this address does not take that method"}


def build(listing: Listing, host: str = "127.0.0.1") -> Guard:
    """The application over what is listed; host: what the server listens on."""
    app = FastAPI(
        title="ToyNet",
        description=_ABOUT,
        version=version("toynet-lab"),
        openapi_url="/api/openapi.json",
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    house = House.build(listing)
    app.include_router(api.routes(house))
    app.include_router(pages.routes(house), include_in_schema=False)

    @app.exception_handler(ToyNetError)
    def told(request: Request, error: ToyNetError) -> Response:
        if isinstance(error, Refusal):
            return _failure(request, error.status, str(error), error.headers)
        return _failure(request, 409, str(error))  # of our files, not of the request

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return _failure(request, 422, f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}")

    @app.exception_handler(HTTPException)
    def unknown(request: Request, error: HTTPException) -> Response:
        text = _SENTENCES.get(error.status_code, error.detail)
        return _failure(request, error.status_code, text, error.headers)

    @app.exception_handler(Exception)
    def defect(request: Request, error: Exception) -> Response:
        return _failure(request, 500, "this is a defect of ToyNet; the terminal that serves shows where")

    return Guard(app, host)


def _failure(request: Request, status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """JSON for programs, a page for people."""
    line = " ".join(text.split())
    if request.url.path.startswith(("/api", "/healthz")):
        content = Failure(error=line).model_dump_json()
        return Response(content, status, headers, media_type="application/json")
    return pages.failure(status, line, headers)
