"""The pages for people: home, a run, its classes, a place to try it, a study, and their reports."""

import asyncio
from collections.abc import Callable, Hashable, Mapping
from functools import cache
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Response
from jinja2 import ChoiceLoader, Environment, PackageLoader

from toynet.reporting import run_page, study_page, templating
from toynet.runs.folder import RunFolder
from toynet.runs.reads import LEDGER
from toynet.serving.answers import RunSummary
from toynet.serving.api import Name
from toynet.serving.house import DRAWING_S, House
from toynet.serving.refusals import Refusal
from toynet.serving.remembered import state_of
from toynet.serving.runs import damage, damage_told
from toynet.serving.statuses import WORDS

_SHOWN = 100
_RUN_FILES = ("result.json", "metrics.jsonl", "predictions.npz")
_REPORT_POLICY = f"{templating.policy()}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}


def routes(house: House) -> APIRouter:
    """Every page. What takes long to draw is drawn in the workshop and kept until its files change."""
    router = APIRouter()

    @router.get("/")
    def home(
        sort: Literal["newest", "score"] = "newest", page: Annotated[int, Query(ge=1, le=100_000)] = 1
    ) -> Response:
        runs = house.runs.page(sort, (page - 1) * _SHOWN, _SHOWN)
        return _page(
            "home",
            runs=runs.runs,
            total=runs.total,
            studies=house.studies.page(0, _SHOWN).studies,
            sort=sort,
            page=page,
            pages=max(1, -(-runs.total // _SHOWN)),
            listing=house.runs.listing,
        )

    @router.get("/runs/{name}")
    def run(name: Name) -> Response:
        folder, about = _known(house, name)
        told, wrong = _tried(folder, run_page.overview)
        return _page("one_run", about=about, told=told, damage=about.damage or wrong, tab="run")

    @router.get("/runs/{name}/classes")
    async def classes(name: Name) -> Response:
        folder, about = await asyncio.to_thread(_known, house, name)

        def draw() -> Response:
            found, wrong = _tried(folder, run_page.classification)
            return _page("classes", about=about, found=found, damage=about.damage or wrong, tab="classes")

        return await _drawn(house, ("classes", folder.path), _state(folder, about.status), draw)

    @router.get("/runs/{name}/try")
    def try_it(name: Name) -> Response:
        folder, about = _known(house, name)
        if about.status != "damaged":
            house.shelf.ask(folder)  # so that it is there when the first picture comes
        return _page("try", about=about, damage=about.damage, tab="try")

    @router.get("/runs/{name}/report")
    async def run_report(name: Name) -> Response:
        folder, about = await asyncio.to_thread(_known, house, name)

        def draw() -> Response:
            with damage_told(folder.path):
                return _report(run_page.run_page(folder).html)

        return await _drawn(house, ("report", folder.path), _state(folder, about.status), draw)

    @router.get("/studies/{name}")
    def study(name: Name) -> Response:
        about = house.studies.detail(name)
        told = None if about.damage else house.studies.told(house.runs.listing.study(name))[1]
        return _page("one_study", about=about, told=told, damage=about.damage)

    @router.get("/studies/{name}/report")
    async def study_report(name: Name) -> Response:
        folder = await asyncio.to_thread(house.runs.listing.study, name)

        def draw() -> Response:
            with damage_told(folder.path):
                return _report(study_page.study_page(house.studies.told(folder)[0]).html)

        return await _drawn(house, ("report", folder.path), state_of(folder.path, "journal.jsonl"), draw)

    @router.get("/static/{name}")
    def static(name: Name) -> Response:
        found = _files().get(name)
        if found is None:
            raise Refusal(404, f"there is no file {name}")
        content, kind = found
        return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

    return router


def failure(status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """A page that says why there is no other."""
    return _page("failure", status=status, text=text, answer_status=status, headers=headers)


def _page(
    kind: str, *, answer_status: int = 200, headers: Mapping[str, str] | None = None, **context: Any
) -> Response:
    html = _environment().get_template(f"{kind}.html.jinja").render(context)
    return Response(html, answer_status, headers, media_type="text/html; charset=utf-8")


def _report(html: str) -> Response:
    """A report as `toynet report` writes it, under the policy that it states itself."""
    return Response(
        html, media_type="text/html; charset=utf-8", headers={"Content-Security-Policy": _REPORT_POLICY}
    )


async def _drawn(house: House, key: Hashable, state: Hashable, draw: Callable[[], Response]) -> Response:
    def make() -> Response:
        return house.drawn.recall(key, state, draw)

    return await house.drawings.run(make, DRAWING_S)


def _known(house: House, name: str) -> tuple[RunFolder, RunSummary]:
    folder = house.runs.listing.run(name)
    return folder, house.runs.summary(name, folder)


def _tried(
    folder: RunFolder, read: Callable[[RunFolder], dict[str, Any]]
) -> tuple[dict[str, Any] | None, str | None]:
    """What `read` gives, or why it gives nothing."""
    try:
        return read(folder), None
    except Exception as error:
        return None, damage(folder.path, error)


def _state(folder: RunFolder, status: str) -> tuple[Hashable, ...]:
    return status, state_of(folder.path, *_RUN_FILES), state_of(folder.path.parent, LEDGER)


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    """What the pages load, by name: our own few files and the reports' style sheet."""
    here = FilePath(__file__).parent / "static"
    found = {path.name: (path.read_bytes(), _TYPES[path.suffix]) for path in here.iterdir()}
    return found | {"page.css": (templating.style().encode(), _TYPES[".css"])}


@cache
def _environment() -> Environment:
    loader = ChoiceLoader([PackageLoader("toynet.serving"), templating.TEMPLATES])
    found = templating.environment(loader, autoescape=True)
    found.filters |= {"segment": lambda name: quote(name, safe="")}
    found.globals |= {"words": WORDS}
    return found
