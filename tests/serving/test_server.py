"""The command: where it listens, how it ends, and what it does with slow clients."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from colours import encoded
from served import COMMAND, Served, environment

HEAD = "POST /api/runs/colours/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"


def _serve(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "serve", *options], capture_output=True, text=True, env=environment(), timeout=60
    )


@pytest.mark.parametrize(("kind", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_in_order(served: Served, kind: int, code: int):
    command = [*COMMAND, "serve", "--port", "0", "--runs", str(served.runs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(kind)
        assert process.wait(20) == code
        assert process.stderr.read() == ""


def test_python_serves_too_and_gets_the_signals_number(served: Served):
    serve = f"toynet.serve({str(served.runs)!r}, port=0, announce=lambda address: print(address, flush=True))"
    code = f"import toynet; print({serve})"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.terminate()
        assert process.wait(20) == 0
        assert process.stdout.read() == "15\n"


def test_a_client_in_the_middle_of_its_upload_does_not_keep_it_from_ending(served: Served):
    command = [*COMMAND, "serve", "--port", "0", "--runs", str(served.runs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().strip()
        with Served(address, process, served.runs, served.studies).connect() as slow:
            slow.sendall(HEAD.encode() + b"x")
            time.sleep(0.5)
            process.terminate()
            assert slow.recv(100).startswith(b"HTTP/1.1 503")
            assert process.wait(20) == 143
        assert process.stderr.read() == ""


def test_a_port_that_is_taken_is_one_clear_line(served: Served):
    done = _serve("--port", str(served.port), "--runs", str(served.runs))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: port {served.port} is taken")
    assert done.stderr.count("\n") == 1


def test_a_folder_that_is_not_there_and_a_host_that_is_not_ours(served: Served, tmp_path: Path):
    done = _serve("--runs", str(tmp_path / "none"))
    assert (done.returncode, done.stderr) == (2, f"error: --runs {tmp_path}/none: there is no such folder\n")
    done = _serve("--host", "203.0.113.7", "--runs", str(served.runs))
    assert done.returncode == 2
    assert "is not an address of this machine" in done.stderr


def test_without_the_extra_it_says_what_to_install(served: Served):
    hidden = "import sys; sys.modules['uvicorn'] = None; from toynet.cli.app import main; main()"
    command = [sys.executable, "-c", hidden, "serve", "--runs", str(served.runs)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert done.returncode == 1
    assert "pip install 'toynet-lab[serve]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_asks_for_no_torch():
    watched = "import sys; sys.argv[1:] = ['serve', '--help']; from toynet.cli.app import main\n"
    watched += "try: main()\nexcept SystemExit: sys.exit('torch' in sys.modules or 'fastapi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", watched], capture_output=True).returncode == 0


def test_a_client_that_stops_in_the_middle_does_not_hold_up_others(served: Served):
    with served.connect() as slow, served.connect() as quick:
        slow.sendall(HEAD.encode() + b"x")
        content = encoded("blue")
        quick.sendall(HEAD.replace("1000", str(len(content))).encode() + content)
        assert quick.recv(100).startswith(b"HTTP/1.1 200")


IMPATIENT = """
import sys
from pathlib import Path
from toynet.serving import server, uploads
from toynet.serving.listing import Listing
server._HEAD_S, server._LOOK_S, uploads.SLOWEST_S = 0.5, 0.1, 0.5
server.serve(Listing(Path(sys.argv[1]), Path("none")), "127.0.0.1", 0, lambda at: print(at, flush=True))
"""


@pytest.fixture(scope="module")
def impatient(served: Served) -> Iterator[Served]:
    """A server whose times are tenths of seconds."""
    command = [sys.executable, "-c", IMPATIENT, str(served.runs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        yield Served(process.stdout.readline().strip(), process, served.runs, served.studies)
        process.terminate()


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        ("", b""),
        ("GET / HT", b""),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nX: ", b""),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /", b"HTTP/1.1 200"),
        (HEAD, b"HTTP/1.1 408"),
        (HEAD + "some of it", b"HTTP/1.1 408"),
    ],
)
def test_slow_clients_are_cut_off(impatient: Served, sent: str, answer: bytes):
    with impatient.connect() as wire:
        wire.sendall(sent.encode())
        began, received = time.monotonic(), b""
        while True:
            try:
                part = wire.recv(65536)
            except ConnectionResetError:
                part = b""
            if not part:
                break
            received += part
        assert received.startswith(answer)
        assert bool(received) == bool(answer)
        assert time.monotonic() - began < 10


def test_what_is_no_http_is_refused(served: Served):
    for noise in (
        b"\x16\x03\x01" + bytes(200),
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"\r\n" * 9000,
    ):
        with served.connect() as wire:
            wire.sendall(noise)
            assert wire.recv(100)[:12] in (b"HTTP/1.1 400", b"")
    with served.connect() as wire:
        wire.sendall(b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 40_000)
        assert wire.recv(100).startswith(b"HTTP/1.1 400")
