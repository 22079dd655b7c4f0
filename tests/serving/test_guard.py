"""Which hosts and origins are ours."""

import asyncio
from typing import Any

import pytest

from toynet.serving.guard import Guard


async def _application(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"yes"})


def _status(host: str = "127.0.0.1", method: str = "GET", listens: str = "127.0.0.1", **headers: str) -> int:
    sent: list[dict[str, Any]] = []
    raw = [(b"host", host.encode())] if host else []
    raw += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "headers": raw, "path": "/"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Guard(_application, listens)(scope, None, send))
    names = {name for name, _ in sent[0]["headers"]}
    assert {b"content-security-policy", b"x-content-type-options", b"referrer-policy"} <= names
    return int(sent[0]["status"])


@pytest.mark.parametrize("host", ["127.0.0.1:8321", "localhost", "LOCALHOST:1", "[::1]:80", "127.0.0.1"])
def test_names_of_this_machine_are_ours(host: str):
    assert _status(host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "127.0.0.1.evil.example",
        "evil.example:127",
        "127.0.0.1@evil.example",
        "localhost:x",
        "127.0.0.1/",
        "[::1",
        "192.168.1.5",
        "localhost, evil.example",
        "user@127.0.0.1",
        "0.0.0.0",
    ],
)
def test_all_other_names_are_refused(host: str):
    assert _status(host) == 400


def test_the_address_that_was_asked_for_is_ours_too():
    assert _status("192.168.1.5:8321", listens="192.168.1.5") == 200
    assert _status("my-machine", listens="my-machine") == 200
    assert _status("192.168.1.5", listens="0.0.0.0") == 200
    assert _status("[fe80::1]", listens="::") == 200
    assert _status("evil.example", listens="0.0.0.0") == 400


def test_only_pages_of_our_own_may_send():
    ours = {"host": "127.0.0.1:8321", "method": "POST"}
    assert _status(**ours) == 200  # a program
    assert _status(**ours, origin="http://127.0.0.1:8321", sec_fetch_site="same-origin") == 200
    for origin in ("http://evil.example", "null", "http://127.0.0.1", "https://127.0.0.1:8321", ""):
        assert _status(**ours, origin=origin) == 403
    assert _status(**ours, sec_fetch_site="cross-site") == 403
    assert _status(**ours | {"method": "GET"}, origin="http://evil.example") == 200
