"""A server in a process of its own, as tests know it."""

import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

COMMAND = [sys.executable, "-c", "from toynet.cli.app import main; main()"]


@dataclass(frozen=True)
class Served:
    """A server at work."""

    address: str
    process: subprocess.Popen[str]
    runs: Path
    studies: Path

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1"}
