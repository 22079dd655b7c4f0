"""A Ray of this machine alone, for as long as the study that asked for it.

It lives in a process and a session of its own, which end when the pipe from the study does, however that came
about. In the study's session Ray would die of the signal that stops the study, before the runs have saved;
and after a kill its agents would linger for a minute.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
import threading

from toynet.core.errors import ToyNetError

_OBJECTS_BYTES = 200_000_000
"""Nothing but the answers of runs goes through Ray's store."""

_ENDS_WITHIN_S = 5.0
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Runs would give way to all other processes; those of the local engine do not.
    "RAY_worker_niceness": "0",
}
"""Where the user has not set them otherwise."""


def keep_out_others() -> None:
    """Ray listens on all addresses of this machine; without a token it does what anybody asks.

    To be called before Ray is imported.
    """
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


class Head:
    """Ray, from its start to its end. Raises `ToyNetError` where it cannot start."""

    def __init__(self, cpus: int, show_logs: bool) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if show_logs else subprocess.DEVNULL,
            env=_SETTINGS | os.environ,
            start_new_session=True,
            text=True,
        )
        asked = {
            "num_cpus": cpus,
            "include_dashboard": False,
            "object_store_memory": _OBJECTS_BYTES,
            "log_to_driver": show_logs,
            "logging_level": level(show_logs),
        }
        assert self._process.stdin
        assert self._process.stdout
        self._pipes = (self._process.stdin, self._process.stdout)
        self._pipes[0].write(json.dumps(asked) + "\n")
        self._pipes[0].flush()
        self.address = self._pipes[1].readline().strip()
        if not self.address:
            self.end()
            raise ToyNetError("Ray cannot be started here; toynet --debug study ... shows what it says")

    def end(self) -> None:
        """Can be called again."""
        for pipe in self._pipes:
            pipe.close()
        try:
            self._process.wait(timeout=2 * _ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def level(show_logs: bool) -> str:
    """What of Ray's own log is shown."""
    return "info" if show_logs else "error"


def main() -> None:
    """Start Ray as a line of JSON says, tell its address, hold it, end it; what lingers is killed."""
    import ray

    ray.init(address="local", **json.loads(sys.stdin.readline()))
    sys.stdout.write(f"{ray.get_runtime_context().gcs_address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    killer = threading.Timer(_ENDS_WITHIN_S, os.killpg, (0, signal.SIGKILL))
    killer.daemon = True
    killer.start()
    ray.shutdown()


if __name__ == "__main__":
    main()
