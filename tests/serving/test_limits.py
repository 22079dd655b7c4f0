"""What happens at limits that no small test reaches: here they are set low. In this process, no network."""

import asyncio

import httpx
import pytest
from colours import encoded

from toynet.serving import api, app, house, uploads
from toynet.serving.listing import Listing


def _ask(listing: Listing, *contents: bytes) -> list[httpx.Response]:
    """All at once."""

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app.build(listing))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            path = "/api/runs/colours/predict"
            await client.post(path, content=encoded("red"))  # the model is loaded now
            return await asyncio.gather(*(client.post(path, content=content) for content in contents))

    return asyncio.run(ask())


def test_where_all_places_are_taken_the_answer_is_503_and_when_to_ask_again(
    listing: Listing, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(house, "_PICTURES_AT_ONCE", 2)
    answers = _ask(listing, *[encoded("red", "png", side=1500)] * 8)
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 503}
    assert statuses.count(200) >= 2
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.headers["retry-after"] == "1"
    assert "try again" in refused.json()["error"]


def test_a_picture_that_takes_too_long_is_given_up(listing: Listing, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(api, "PICTURE_S", 0.02)
    (answer,) = _ask(listing, encoded("red", "png", side=1700))
    assert answer.status_code == 504
    assert answer.json()["error"] == "reading and classifying this picture took longer than 0.02 seconds"


def test_uploads_that_hold_too_much_together_are_refused(listing: Listing, monkeypatch: pytest.MonkeyPatch):
    content = encoded("red", "png", side=300)
    monkeypatch.setattr(uploads, "_MOST_TOGETHER", len(content) - 1)
    (answer,) = _ask(listing, content)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_only_a_few_models_are_kept(listing: Listing, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(house, "_MODELS", 1)
    rooms = house.House.build(listing)
    first = rooms.shelf.ask(listing.run("colours"))
    assert rooms.shelf.ask(listing.run("colours")) is first
    assert first.result(60).classifier.classes[1] == "blue"
    assert rooms.shelf.ask(listing.run("invented")).exception(60) is not None
    assert rooms.shelf.ask(listing.run("colours")) is not first
