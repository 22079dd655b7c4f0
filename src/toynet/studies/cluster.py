"""Where the runs of a study are made when that is not this machine alone."""

import os
import socket

from pydantic import Field

from toynet.core.errors import ToyNetError, UsageError
from toynet.core.records import Record

_ANSWERS_WITHIN_S = 5.0


class Cluster(Record):
    """A Ray cluster, and what each run takes of it."""

    address: str | None = None
    """HOST:PORT or `auto`; by default $RAY_ADDRESS, else Ray is started here for as long as the study."""

    cpus_per_run: int | None = Field(default=None, ge=1, le=1024)
    """Threads of each run, and the CPUs kept for it; by default those the study began with, else one."""

    gpus_per_run: float | None = Field(default=None, ge=0, le=64)
    """By default one where the study is planned on a machine with one, else none. 0.5: two runs share it."""

    show_logs: bool = False
    """Print what the processes of the runs and Ray itself write."""


def check_answers(address: str) -> None:
    """Raise `ToyNetError` where nothing at HOST:PORT speaks as a Ray head does; Ray itself waits for minutes.

    A head speaks gRPC, and so greets with an HTTP/2 settings frame (RFC 9113, section 3.4).
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if "/" in address or not host or not port.isdecimal():
        raise UsageError(
            f"address {address}: give HOST:PORT of a cluster that this machine is a node of, or auto"
        )
    try:
        with socket.create_connection((host, int(port)), timeout=_ANSWERS_WITHIN_S) as line:
            line.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
            greeting = line.recv(9)
    except OSError as error:
        raise ToyNetError(
            f"no Ray cluster answers at {address} ({error.strerror or error}); see ray status, or leave "
            "--address out to start Ray here"
        ) from None
    if greeting[3:4] != b"\4" and os.environ.get("RAY_USE_TLS") != "1":
        raise ToyNetError(
            f"what answers at {address} is not a Ray head; give its address as ray start told it"
        )
