"""Threads for work that may take too long: few of them, and a bounded queue.

A thread of Python cannot be stopped from outside. Work that has passed its time goes on, unheard, and keeps
its place until it ends, so that stuck work makes the server refuse early (503) rather than pile up. The
threads do not keep the process from ending.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

from toynet.serving.refusals import Refusal, busy

Value = TypeVar("Value")


class Workshop:
    """`workers` threads; at most `places` pieces of work are waited for or in hand at once."""

    def __init__(self, name: str, *, workers: int, places: int) -> None:
        self.places = places
        self._name = name
        self._taken = 0
        self._lock = threading.Lock()
        self._waiting: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        for number in range(workers):
            threading.Thread(target=self._work, name=f"{name} {number}", daemon=True).start()

    async def run(self, do: Callable[[], Value], limit_s: float) -> Value:
        """What `do` returns or raises. Raises `Refusal`: 503 where all places are taken or no thread became
        free in time, 504 where `do` was begun and took too long."""
        with self._lock:
            if self._taken >= self.places:
                raise busy()
            self._taken += 1
        future: Future[Value] = Future()
        future.add_done_callback(self._leave)
        self._waiting.put((future, do))
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), limit_s)
        except TimeoutError:
            if future.cancelled():
                raise busy() from None
            raise Refusal(504, f"{self._name} took longer than {limit_s:g} seconds") from None

    def _work(self) -> None:
        while True:
            future, do = self._waiting.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(do())
            except BaseException as error:
                future.set_exception(error)

    def _leave(self, _: Future[Any]) -> None:
        with self._lock:
            self._taken -= 1
