"""Downloads from a server on this machine that misbehaves in the ways real ones do."""

import hashlib
import random
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from toynet.core.errors import DataError, UsageError
from toynet.core.reporter import Silent
from toynet.data import download as module
from toynet.data.download import NetworkError, download

CONTENT = random.Random(7).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Server:
    """What the server does, and what it was asked."""

    address: str = ""
    content: bytes = CONTENT
    knows_ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    """Bytes of the file after which each answer in turn breaks off."""
    tells_size: bool = True
    status: int = 200
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(module, "PAUSE_S", 0.0)
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            server.asked.append(asked)
            if server.status != 200:
                self.send_error(server.status)
                return
            whole = server.content
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and server.knows_ranges else 0
            if start >= len(whole):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(whole)}")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(whole) - 1}/{len(whole)}")
            if server.tells_size:
                self.send_header("Content-Length", str(len(whole) - start))
            self.end_headers()
            end = server.cuts.pop(0) if server.cuts else len(whole)
            self.wfile.write(whole[start:end])

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.address = f"http://127.0.0.1:{http.server_port}/file"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    http.shutdown()
    thread.join()
    http.server_close()


def dead_address() -> str:
    """An address at which nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/file"


def bring(target: Path, *urls: str, **options: object) -> None:
    download(urls, target, **{"sha256": SHA256, "limit_bytes": 1_000_000, **options})


class Counter(Silent):
    def __init__(self) -> None:
        self.tasks: list[tuple[str, int, str]] = []
        self.done = 0

    def begin(self, task: str, total: int, unit: str) -> None:
        self.tasks.append((task, total, unit))
        self.done = 0

    def advance(self, units: int) -> None:
        self.done += units


def test_a_file_is_brought_whole_and_progress_adds_up(server: Server, tmp_path: Path) -> None:
    counter = Counter()
    bring(tmp_path / "a.gz", server.address, reporter=counter)
    assert (tmp_path / "a.gz").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["a.gz"]
    assert counter.tasks == [("download a.gz", 300_000, "bytes")]
    assert counter.done == 300_000


def test_cuts_at_100_offsets_are_each_resumed(server: Server, tmp_path: Path) -> None:
    draw = random.Random(1)
    offsets = [1, 2, len(CONTENT) - 1, *(draw.randrange(1, len(CONTENT)) for _ in range(97))]
    for number, offset in enumerate(offsets):
        server.cuts, server.asked = [offset], []
        bring(tmp_path / str(number), server.address)
        assert (tmp_path / str(number)).read_bytes() == CONTENT
        assert server.asked == [None, f"bytes={offset}-"]


def test_a_transfer_cut_many_times_is_one_task(server: Server, tmp_path: Path) -> None:
    counter = Counter()
    server.cuts = list(range(10_000, 300_000, 10_000))
    bring(tmp_path / "a", server.address, reporter=counter)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert len(server.asked) == 30
    assert len(counter.tasks) == 1
    assert counter.done == 300_000


def test_the_next_call_takes_up_the_part_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(CONTENT[:123_456])
    counter = Counter()
    bring(tmp_path / "a", server.address, reporter=counter)
    assert server.asked == ["bytes=123456-"]
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert counter.done == 300_000


def test_a_server_without_ranges_is_read_past(server: Server, tmp_path: Path) -> None:
    server.knows_ranges = False
    server.cuts = [200_000, 100_000]
    bring(tmp_path / "a", server.address)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert len(server.asked) == 3


def test_a_server_that_always_cuts_at_one_place_is_left(server: Server, tmp_path: Path) -> None:
    server.cuts = [50_000] * 100
    with pytest.raises(NetworkError, match="broke off"):
        bring(tmp_path / "a", server.address)
    assert len(server.asked) == 1 + module.FRUITLESS_REQUESTS
    assert (tmp_path / "a.part").read_bytes() == CONTENT[:50_000]
    assert not (tmp_path / "a").exists()


def test_a_complete_part_file_is_taken_over(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(CONTENT)
    bring(tmp_path / "a", server.address)
    assert (tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize("size", [1_000, 300_000, 300_001])
def test_a_wrong_part_file_costs_one_more_try(server: Server, tmp_path: Path, size: int) -> None:
    (tmp_path / "a.part").write_bytes(bytes(size))
    bring(tmp_path / "a", server.address)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert server.asked == [f"bytes={size}-", None]


@pytest.mark.parametrize("tells_size", [True, False])
def test_wrong_bytes_never_take_the_name(server: Server, tmp_path: Path, tells_size: bool) -> None:
    server.content = CONTENT[:-1] + bytes([CONTENT[-1] ^ 1])
    server.tells_size = tells_size
    with pytest.raises(NetworkError, match="other bytes"):
        bring(tmp_path / "a", server.address)
    assert list(tmp_path.iterdir()) == []


def test_a_small_page_does_not_cost_the_part_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(CONTENT[:100_000])
    server.content, server.knows_ranges = b"<html>please log in", False
    with pytest.raises(NetworkError, match="fewer"):
        bring(tmp_path / "a", server.address)
    assert (tmp_path / "a.part").read_bytes() == CONTENT[:100_000]


@pytest.mark.parametrize("tells_size", [True, False])
def test_an_endless_file_is_broken_off(server: Server, tmp_path: Path, tells_size: bool) -> None:
    server.tells_size = tells_size
    with pytest.raises(NetworkError, match="more than"):
        bring(tmp_path / "a", server.address, limit_bytes=100_000)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 0


def test_mirrors_are_tried_in_order(server: Server, tmp_path: Path) -> None:
    bring(tmp_path / "a", dead_address(), server.address)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_the_failure_of_each_mirror_is_named(server: Server, tmp_path: Path) -> None:
    server.status = 404
    dead = dead_address()
    with pytest.raises(NetworkError) as caught:
        bring(tmp_path / "a", dead, server.address)
    message = str(caught.value)
    assert "Connection refused" in message
    assert "HTTP 404" in message
    assert dead.split("/")[2] in message
    assert "\n" not in message


def test_silent_mirrors_together_stay_within_the_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    assert module.PATIENCE_S < 30
    deaf = [socket.create_server(("127.0.0.1", 0)) for _ in range(5)]
    urls = [f"http://127.0.0.1:{mirror.getsockname()[1]}/file" for mirror in deaf]
    start = time.monotonic()
    with pytest.raises(NetworkError) as caught:
        bring(tmp_path / "a", *urls, patience_s=1.0)
    assert time.monotonic() - start < 2.5
    assert str(caught.value).count("no answer") == 5
    for mirror in deaf:
        mirror.close()


def test_a_name_look_up_that_hangs_is_bounded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    release = threading.Event()

    def hang(*_: object, **__: object) -> list[object]:
        release.wait(20)
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    start = time.monotonic()
    with pytest.raises(NetworkError, match="no answer"):
        bring(tmp_path / "a", "http://data.invalid/file", patience_s=0.6)
    assert time.monotonic() - start < 2.5
    release.set()


def test_a_server_that_falls_silent_half_way_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(module, "PAUSE_S", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as mirror:
        held = []

        def answer() -> None:
            connection, _ = mirror.accept()
            held.append(connection)
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + CONTENT[:1000])

        thread = threading.Thread(target=answer)
        thread.start()
        start = time.monotonic()
        with pytest.raises(NetworkError, match="no answer"):
            bring(tmp_path / "a", f"http://127.0.0.1:{mirror.getsockname()[1]}/file", patience_s=1.0)
        assert time.monotonic() - start < 2.5
        thread.join()
        for connection in held:
            connection.close()
    assert (tmp_path / "a.part").read_bytes() == CONTENT[:1000]


def test_an_error_of_the_disk_is_one_line(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot write") as caught:
        bring(tmp_path / "missing" / "a", server.address)
    assert "\n" not in str(caught.value)


def test_a_full_disk_is_told_before_the_transfer(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 100_000

    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: Usage)
    with pytest.raises(DataError, match="0 MB more, the disk has 0 MB free"):
        bring(tmp_path / "a", server.address)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://127.0.0.1/a", "data:,a"])
def test_other_schemes_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="http"):
        bring(tmp_path / "a", url)
