"""The server: a socket, uvicorn, times for slow clients, and an orderly end."""

import asyncio
import errno
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from toynet.core.errors import ToyNetError, UsageError
from toynet.serving import app
from toynet.serving.listing import Listing

_HEAD_S = 10.0
"""For a request's head, and between two requests."""

_WHOLE_S = 120.0
"""From a request to the last byte of its answer."""

_LOOK_S = 2.0
_LONGEST_HEAD_BYTES = 16 * 1024
_MOST_CONNECTIONS = 400
_END_S = 3
"""How long requests in progress have when the server is told to stop."""


def serve(listing: Listing, host: str, port: int, announce: Callable[[str], None]) -> int:
    """Serve until a signal comes; returns its number. `announce` gets the address once it can be asked.

    port: 0 for any that is free. Raises `UsageError` for a host that is not known and a port that is taken.
    """
    with _listen(host, port) as listener:
        config = uvicorn.Config(
            app.build(listing, host),
            http=PatientProtocol,
            ws="none",
            lifespan="off",
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=_END_S,
            h11_max_incomplete_event_size=_LONGEST_HEAD_BYTES,
        )
        server = _Server(config, lambda: announce(_address(listener)))
        server.run(sockets=[listener])
    return server.signal_number


class PatientProtocol(H11Protocol):
    """uvicorn waits for ever for a request's head, for a body nobody reads, and for a client that takes its
    answer byte by byte. Here each of them has its time, after which the connection is cut."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._seen: tuple[object, bool] = (None, False)
        self._since = self.loop.time()
        self._watch = self.loop.call_later(_LOOK_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._watch.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        now, busy = self.loop.time(), self.cycle is not None and not self.cycle.response_complete
        if (self.cycle, busy) != self._seen:
            self._seen, self._since = (self.cycle, busy), now
        if now - self._since > (_WHOLE_S if busy else _HEAD_S):
            self.transport.abort()
            return
        self._watch = self.loop.call_later(_LOOK_S, self._look)


class _Server(uvicorn.Server):
    """Tells when it listens, and which signal ended it; uvicorn's own would die of that signal."""

    def __init__(self, config: uvicorn.Config, listening: Callable[[], None]) -> None:
        super().__init__(config)
        self.signal_number: int = signal.SIGINT
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # whoever is cut off now is no error
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {kind: signal.signal(kind, self.handle_exit) for kind in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.signal_number = sig
        super().handle_exit(sig, frame)


def _listen(host: str, port: int) -> socket.socket:
    try:
        kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=kind, backlog=128)
    except OSError as error:
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise UsageError(f"host {host} is not an address of this machine; leave --host out") from None
        if error.errno == errno.EADDRINUSE:
            raise UsageError(
                f"port {port} is taken, perhaps by another toynet serve; choose another by --port, or any "
                "free one by --port 0"
            ) from None
        raise ToyNetError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"
