"""The API: GET and POST below /api, answers in JSON."""

import asyncio
from importlib.metadata import version
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request

from toynet.core.errors import DataError
from toynet.serving.answers import (
    Failure,
    Health,
    Metrics,
    ModelState,
    Prediction,
    RunDetail,
    RunList,
    StudyDetail,
    StudyList,
)
from toynet.serving.house import PICTURE_S, House
from toynet.serving.refusals import Refusal
from toynet.serving.uploads import picture_in

Name = Annotated[str, Path(max_length=260, description="As the list has it; a study's run is STUDY~RUN.")]
Offset = Annotated[int, Query(ge=0, le=1_000_000)]
Limit = Annotated[int, Query(ge=1, le=1000)]

_BINARY = {"schema": {"type": "string", "format": "binary"}}
_FORM = {"type": "object", "required": ["picture"], "properties": {"picture": _BINARY["schema"]}}
_UPLOAD = {
    "requestBody": {
        "required": True,
        "description": "One picture, 10 MB and 25 megapixels at most, bare or as the file of a form.",
        "content": {
            "image/png": _BINARY,
            "image/jpeg": _BINARY,
            "image/webp": _BINARY,
            "application/octet-stream": _BINARY,
            "multipart/form-data": {"schema": _FORM},
        },
    }
}


def _failures(**told: str) -> dict[int | str, dict[str, Any]]:
    """`_404="..."`: statuses and what they mean."""
    return {int(status[1:]): {"model": Failure, "description": text} for status, text in told.items()}


_ALWAYS = _failures(
    _400="a Host that is not this server", _422="a parameter out of bounds", _503="too much at once"
)
_NAMED = _failures(_404="no such name", _409="damaged, or not there yet")


def routes(house: House) -> APIRouter:
    """All of it. Names are looked up in a listing; nothing that a client sends becomes a path."""
    router = APIRouter(responses=_ALWAYS)

    @router.get("/healthz", tags=["server"])
    def health() -> Health:
        """Whether the server answers."""
        return Health(version=version("toynet-lab"))

    @router.get("/api/runs", tags=["runs"])
    def runs(sort: Literal["newest", "score"] = "newest", offset: Offset = 0, limit: Limit = 100) -> RunList:
        """Runs with their status and score."""
        return house.runs.page(sort, offset, limit)

    @router.get("/api/runs/{name}", tags=["runs"], responses=_NAMED)
    def run(name: Name) -> RunDetail:
        """One run: its recipe, result and what its curves look like."""
        return house.runs.detail(name)

    @router.get("/api/runs/{name}/metrics", tags=["runs"], responses=_NAMED)
    def metrics(name: Name, after: Annotated[int, Query(ge=0, le=1_000_000_000)] = 0) -> Metrics:
        """The epochs after `after`: ask again with the last one you have to follow a run."""
        return house.runs.metrics(name, after)

    @router.get("/api/studies", tags=["studies"])
    def studies(offset: Offset = 0, limit: Limit = 100) -> StudyList:
        """Studies with their status, the newest first."""
        return house.studies.page(offset, limit)

    @router.get("/api/studies/{name}", tags=["studies"], responses=_NAMED)
    def study(name: Name) -> StudyDetail:
        """One study: what it says so far, each arm's verdict and each of its runs."""
        return house.studies.detail(name)

    @router.get("/api/runs/{name}/model", tags=["pictures"], responses=_NAMED)
    def model(name: Name) -> ModelState:
        """Whether the model is in memory. Asking begins to load it."""
        future = house.shelf.ask(house.runs.listing.run(name))
        if future.cancelled() or not future.done():
            return ModelState(run=name, state="loading")
        known = future.result().classifier
        return ModelState(
            run=name,
            state="ready",
            classes=known.classes,
            image_shape=known.image_shape,
            calibrated=known.temperature is not None,
        )

    @router.post(
        "/api/runs/{name}/predict",
        tags=["pictures"],
        openapi_extra=_UPLOAD,
        responses=_NAMED
        | _failures(
            _400="no picture, or a form that cannot be read",
            _403="sent by a page of another site",
            _408="the upload took too long",
            _413="more than 10 MB",
            _415="no PNG, JPEG or WebP file",
            _422="a picture that cannot be read, or a parameter out of bounds",
            _504="the picture took longer than 5 seconds",
        ),
    )
    async def predict(
        request: Request,
        name: Name,
        top: Annotated[int, Query(ge=1, le=1000, description="How many classes to tell.")] = 5,
        heat: Annotated[bool, Query(description="Whether to draw where the model looked.")] = False,
    ) -> Prediction:
        """What the run's model says of a picture. The picture is not kept."""
        folder = await asyncio.to_thread(house.runs.listing.run, name)
        async with house.uploads.body(request) as content:
            loaded = await house.model(folder)
            kind = request.headers.get("content-type", "")

            def answer() -> Prediction:
                return loaded.predict(name, picture_in(content, kind), top, heat)

            try:
                return await house.pictures.run(answer, PICTURE_S)
            except DataError as error:
                raise Refusal(422, f"this picture cannot be read: {error}") from None

    return router
