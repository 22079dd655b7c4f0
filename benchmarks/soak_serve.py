"""A long day for `toynet serve`: python benchmarks/soak_serve.py > results/serve/soak.json

Mixed good and hostile requests, and slow clients all the while, against a server process on 127.0.0.1. It
fails where the server ends, answers 500, answers a hostile request otherwise than it should, or has grown by
more than 50 MB. It trains a tiny model first, stops by itself after --requests, at the latest after
--minutes, and prints what was asked, what was answered, how long honest requests took, and the memory.
"""

import argparse
import asyncio
import io
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from toynet.core.environment import describe

REQUESTS, SLOW_CLIENTS, AT_ONCE, LONGEST_MIN = 20_000, 100, 6, 60.0
MOST_GROWTH_MB, WARM_SHARE = 50.0, 0.05
COMMAND = [sys.executable, "-c", "from toynet.cli.app import main; main()"]
RUN = "soaked"


@dataclass(frozen=True)
class Kind:
    """A request, how often it is sent among the others, and what may be answered; 0: closed."""

    name: str
    share: float
    wire: bytes
    answers: tuple[int, ...]
    honest: bool = False


@dataclass
class Log:
    """What happened, by kind."""

    statuses: dict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    honest_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    wrong: list[str] = field(default_factory=list)
    slow_connections: int = 0


def predict_path(run: str) -> str:
    return f"/api/runs/{run}/predict"


def kinds(rng: np.random.Generator, run: str) -> list[Kind]:
    """The mix: seven in ten are honest."""
    predict = predict_path(run)
    pictures = {kind: encoded(rng, kind) for kind in ("png", "jpeg", "webp")}
    good, big = pictures["png"], encoded(rng, "jpeg", side=2000)
    header = b"IHDR" + (30_000).to_bytes(4, "big") * 2 + bytes((8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\x0d" + header + zlib.crc32(header).to_bytes(4, "big")
    noise = rng.integers(0, 256, 5000, np.uint8).tobytes()
    form = b"--b\r\nContent-Disposition: form-data; name=p; filename=x\r\n\r\n" + good + b"\r\n--b--\r\n"
    lines = b"--b\r\n" + b"A: b\r\n" * 20_000
    chunk = b"100000\r\n" + bytes(0x100000) + b"\r\n"
    formed = "Content-Type: multipart/form-data; boundary=b"
    return [
        Kind("home page", 6, get("/"), (200,), True),
        Kind("run page", 4, get(f"/runs/{run}"), (200,), True),
        Kind("list of runs", 8, get("/api/runs"), (200,), True),
        Kind("metrics", 16, get(f"/api/runs/{run}/metrics?after=1"), (200,), True),
        Kind("script", 4, get("/static/try.js"), (200,), True),
        Kind("health", 4, get("/healthz"), (200,), True),
        *(Kind(f"predict {kind}", 6, post(predict, data), (200,), True) for kind, data in pictures.items()),
        Kind("predict with heat", 6, post(f"{predict}?heat=true", good), (200,), True),
        Kind("predict form", 3, post(predict, form, formed), (200,), True),
        Kind("predict 2000 x 2000", 1, post(predict, big), (200,), True),
        Kind("cut off picture", 4, post(predict, good[: len(good) // 2]), (422,)),
        Kind("noise", 3, post(predict, noise), (415,)),
        Kind("noise that begins as PNG", 3, post(predict, good[:40] + noise), (422,)),
        Kind("noise that begins as WebP", 2, post(predict, b"RIFF\x10\0\0\0WEBP" + noise), (422,)),
        Kind("bomb", 3, post(predict, bomb), (422,)),
        Kind("svg", 2, post(predict, b"<svg onload='alert(1)'/>"), (415,)),
        Kind("form of many lines", 0.5, post(predict, lines, formed), (400,)),
        Kind("form without an end", 1, post(predict, form[:200], formed), (400, 422)),
        Kind("path out of the folder", 2, get("/api/runs/..%2f..%2fetc%2fpasswd"), (404,)),
        Kind("path out of static", 1, get("/static/../../../etc/passwd"), (404,)),
        Kind("other host", 2, get("/", host="evil.example"), (400,)),
        Kind("other origin", 2, post(predict, good, "Origin: http://evil.example"), (403, 0)),
        Kind("no http", 2, noise, (400, 0)),
        Kind("endless head", 0.5, b"GET / HTTP/1.1\r\nX: " + b"y" * 100_000, (400, 0)),
        Kind("stated too long", 1, head(predict, "Content-Length: 99999999") + noise, (413, 0)),
        Kind("too long, unstated", 0.1, head(predict, "Transfer-Encoding: chunked") + 12 * chunk, (413, 0)),
        Kind("gone in the middle", 2, head(predict, "Content-Length: 100000") + noise, (400, 0)),
        Kind("wrong method", 1, head("/api/runs", "Content-Length: 0"), (405,)),
    ]


def encoded(rng: np.random.Generator, kind: str, side: int = 64) -> bytes:
    content = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).save(content, kind)
    return content.getvalue()


def get(path: str, host: str = "127.0.0.1") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


def head(path: str, *lines: str) -> bytes:
    said = "\r\n".join((f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *lines))
    return f"{said}\r\n\r\n".encode()


def post(path: str, body: bytes, *lines: str) -> bytes:
    return head(path, f"Content-Length: {len(body)}", *lines) + body


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection that is closed whatever becomes of it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def ask(port: int, kind: Kind) -> int:
    """The status of the answer, 0 where the connection was closed without one."""
    received = b""
    with suppress(ConnectionError):
        async with connected(port) as (reader, writer):
            writer.write(kind.wire)
            await writer.drain()
            if kind.name == "gone in the middle":
                writer.write_eof()
            received = await reader.read()
    words = received.split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/") else 0


async def dawdle(port: int, path: str, log: Log, body: bool) -> None:
    """A client that sends a byte now and then, until it is cut off, and comes again."""
    while True:
        with suppress(ConnectionError):
            async with connected(port) as (_, writer):
                log.slow_connections += 1
                writer.write(head(path, "Content-Length: 5000") if body else b"GET / HTTP/1.1\r\nX: ")
                while not writer.is_closing():
                    writer.write(b"x")
                    await writer.drain()
                    await asyncio.sleep(1.0)


async def bombard(
    port: int, mix: Sequence[Kind], count: int, slow: Sequence[str], until: float, log: Log
) -> None:
    """`count` requests, `AT_ONCE` at a time. slow: where each slow client sends to."""
    order = random.Random(1).choices(mix, [kind.share for kind in mix], k=count)
    left = iter(order)

    async def work() -> None:
        for kind in left:
            if time.monotonic() > until:
                return
            began = time.perf_counter()
            status = await ask(port, kind)
            if kind.honest:
                log.honest_s[kind.name].append(time.perf_counter() - began)
            log.statuses[kind.name][status] += 1
            if status not in kind.answers:
                log.wrong.append(f"{kind.name}: {status}")

    slow_ones = [
        asyncio.create_task(dawdle(port, path, log, body=bool(n % 2))) for n, path in enumerate(slow)
    ]
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    for task in slow_ones:
        task.cancel()
    await asyncio.gather(*slow_ones, return_exceptions=True)


def resident_mb(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def soak(port: int, process: int, *, run: str, requests: int, slow: int, minutes: float) -> dict[str, object]:
    """The whole of it against a server over the run called `run`.

    The first requests, a twentieth, count for answers but not for memory: what a server keeps once, it keeps
    after them.
    """
    mix, log, until = kinds(np.random.default_rng(1), run), Log(), time.monotonic() + 60 * minutes
    began, warm = time.perf_counter(), max(60, int(WARM_SHARE * requests))
    asyncio.run(ask(port, next(kind for kind in mix if kind.name == "predict with heat")))
    loading_s = time.perf_counter() - began
    asyncio.run(bombard(port, mix, warm, (), until, log))
    before = resident_mb(process)
    asyncio.run(bombard(port, mix, requests - warm, [predict_path(run)] * slow, until, log))
    time.sleep(1)
    after, status = resident_mb(process), asyncio.run(ask(port, mix[0]))
    every = sorted(taken for one in log.honest_s.values() for taken in one)
    asked = sum(sum(one.values()) for one in log.statuses.values())
    return {
        "requests": asked,
        "honest": len(every),
        "slow_clients": slow,
        "slow_connections": log.slow_connections,
        "seconds": round(time.perf_counter() - began, 1),
        "first_prediction_s": round(loading_s, 1),
        "alive_at_the_end": status == 200,
        "server_errors": sum(n for one in log.statuses.values() for code, n in one.items() if code >= 500),
        "wrong_answers": log.wrong[:20],
        "honest_ms": {
            "median": round(1000 * statistics.median(every), 1),
            "p99": round(1000 * every[int(0.99 * len(every))], 1),
            "longest": round(1000 * every[-1], 1),
        },
        "honest_p99_ms_by_kind": {
            name: round(1000 * sorted(one)[int(0.99 * len(one))], 1) for name, one in log.honest_s.items()
        },
        "memory_mb": {"after_warming": round(before, 1), "end": round(after, 1)},
        "growth_mb": round(after - before, 1),
        "answers": {name: dict(sorted(one.items())) for name, one in sorted(log.statuses.items())},
    }


def faults(found: dict[str, object]) -> list[str]:
    """What must not be; empty where all is well."""
    growth = found["growth_mb"]
    assert isinstance(growth, float)
    return [
        told
        for told, wrong in (
            ("the server has ended", not found["alive_at_the_end"]),
            (f"{found['server_errors']} server errors", found["server_errors"]),
            (f"wrong answers: {found['wrong_answers']}", found["wrong_answers"]),
            (f"memory grew by {growth} MB", growth > MOST_GROWTH_MB),
        )
        if wrong
    ]


@contextmanager
def serving(place: Path) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A server over one tiny run, and its port."""
    import toynet

    small = {"model.widths": [8, 16, 16, 16], "train.epochs": 2, "schedule.warmup_epochs": 0}
    toynet.train("quick", data="glyphs:600", name=RUN, overrides=small, root=place)
    command = [*COMMAND, "serve", "--port", "0", "--runs", str(place)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline().rpartition(":")[2]), process
        process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--slow", type=int, default=SLOW_CLIENTS)
    parser.add_argument("--minutes", type=float, default=LONGEST_MIN)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, serving(Path(place)) as (port, process):
        found = soak(
            port, process.pid, run=RUN, requests=asked.requests, slow=asked.slow, minutes=asked.minutes
        )
    found["exit_code"] = process.returncode
    load = os.getloadavg()[2]
    print(json.dumps(found | {"load_average_15_min": round(load, 1), "environment": describe()}, indent=2))
    if wrong := faults(found):
        sys.exit("; ".join(wrong))


if __name__ == "__main__":
    main()
