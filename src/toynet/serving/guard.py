"""What stands before everything else: is the request meant for this server, and from a page of its own?

A web page elsewhere can make its reader's browser ask a server on 127.0.0.1. Reading the answer takes a name
that points to this machine (DNS rebinding), hence the check of Host; sending something takes a form or a
script of another origin, hence the check of Origin.
"""

import asyncio
import json
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toynet.serving.refusals import Refusal

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cache-Control": "no-store",
}
_OWN_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
_ANY = frozenset({"0.0.0.0", "::"})
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Guard:
    """Wraps the application. host: what the server was told to listen on."""

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._names = _OWN_NAMES | {host.lower()}
        self._any_address = host in _ANY

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        begun = False

        async def armoured(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope["method"], Headers(scope=scope))
        if refusal is None:
            try:
                await self._app(scope, receive, armoured)
                return
            except asyncio.CancelledError:
                if begun:
                    raise
                refusal = Refusal(503, "the server is stopping")
        body = json.dumps({"error": str(refusal)}).encode()
        stated = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
        raw = [(name.encode(), value.encode()) for name, value in stated.items()]
        await armoured({"type": "http.response.start", "status": refusal.status, "headers": raw})
        await armoured({"type": "http.response.body", "body": body})

    def _refusal(self, method: str, headers: Headers) -> Refusal | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return Refusal(400, "this server does not go by that name; ask for 127.0.0.1 or localhost")
        if method in _READING:
            return None
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        if (origin is None or origin.lower() == f"http://{hosts[0].lower()}") and site in (
            "same-origin",
            "none",
        ):
            return None
        return Refusal(403, "only pages of this server may send something to it")

    def _is_ours(self, host: str) -> bool:
        name = _name(host)
        if name in self._names:
            return True
        return self._any_address and _is_address(name)  # by number, which no other site's name can be


def _name(host: str) -> str:
    """Host without its port; empty where it is no host."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return ""
    return (parts.hostname or "") if parts.netloc == host and "@" not in host else ""


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
