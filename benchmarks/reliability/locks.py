"""Goal 8: eight starters of one run at once, again and again: one wins, the others name it."""

import os
import random
import signal
import socket
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from reliability import tiny
from toynet.core.errors import ToyNetError
from toynet.core.locks import folder_lock
from toynet.core.reporter import Silent

COUNT = 100
SHORT = 2
STARTERS = 8


def prove(count: int) -> dict[str, Any]:
    """`count` rounds, half of them beginning a run, half going on with one; the winner is killed."""
    one = tiny.recipe(**{"train.epochs": 100_000})
    about = tiny.images(one)
    draw, one_winner, named, free_at_once = random.Random(8), 0, 0, 0
    with tempfile.TemporaryDirectory() as name:
        for number in range(count):
            path = Path(name) / f"run{number - number % 2}"  # an odd round goes on with the one before
            gate, opening = os.pipe()
            answers, answering = os.pipe()
            starts = [
                partial(_start, gate, opening, answering, path, one, about, draw.random() / 1e3)
                for _ in range(STARTERS)
            ]
            children = [tiny.fork(start) for start in starts]
            os.close(gate)
            os.close(answering)
            os.close(opening)  # all of them start now
            told = _read_all(answers, STARTERS)
            winners = [line for line in told if line.startswith("won")]
            one_winner += len(winners) == 1 and len(told) == STARTERS
            pid = winners[0].split()[1] if winners else "nobody"
            lost = [line for line in told if f"in use by process {pid} on {socket.gethostname()}" in line]
            named += len(lost)
            for child in children:
                os.kill(child, signal.SIGKILL)
                tiny.ended(child)
            try:
                with folder_lock(path):
                    free_at_once += 1
            except ToyNetError:
                pass
            os.close(answers)
    return {
        "rounds": count,
        "starters": STARTERS,
        "rounds_with_one_winner": one_winner,
        "refusals_naming_process_and_host": named,
        "free_at_once_after_kill": free_at_once,
        "passed": one_winner == free_at_once == count and named == count * (STARTERS - 1),
    }


class _Telling(Silent):
    """Says that the run trains, which only the winner's does."""

    def __init__(self, answering: int) -> None:
        self.answering = answering

    def begin(self, task: str, total: int, unit: str) -> None:
        if self.answering and task.startswith("epoch"):
            os.write(self.answering, f"won {os.getpid()}\n".encode())
            self.answering = 0


def _start(
    gate: int, opening: int, answering: int, path: Path, one: tiny.Recipe, about: tiny.Subject, after_s: float
) -> None:
    os.close(opening)
    os.read(gate, 1)  # returns when the parent closes its end
    time.sleep(after_s)
    try:
        tiny.run(path, one, about, _Telling(answering))
    except ToyNetError as error:
        os.write(answering, f"{error}\n".encode())


def _read_all(answers: int, lines: int, timeout_s: float = 120.0) -> list[str]:
    """What the starters said, when all have."""
    os.set_blocking(answers, False)
    text, deadline = b"", time.monotonic() + timeout_s
    while text.count(b"\n") < lines and time.monotonic() < deadline:
        try:
            text += os.read(answers, 1 << 16)
        except BlockingIOError:
            time.sleep(0.005)
    return text.decode().splitlines()
