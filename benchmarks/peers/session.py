"""The driver's side of a contestant: a process that lives for a whole job and is stopped while others run."""

import json
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from contests import CONTESTANTS, JOBS, Contestant, Job

HERE = Path(__file__).parent
REFERENCE = HERE.parents[1] / "tests" / "models"
PATIENCE_S = 400
"""Longest wait for an answer; the slowest first step, a compilation on one busy core, took a minute."""


class Lost(Exception):
    """The contestant's process ended or does not answer; the message says why, in one line."""


class Session:
    """One contestant's process. All but the one that is measured are stopped by SIGSTOP, so that idle
    threads of no library, whatever its way of waiting, take time from another's."""

    def __init__(self, job: Job, contestant: Contestant, pool: Path, threads: int) -> None:
        """Start it. `pool` names the images; logs and caches go beside it."""
        numbers = JOBS.index(job), CONTESTANTS.index(contestant)
        self.log = pool.with_name("{}-{}.log".format(*numbers))
        command = [sys.executable, HERE / "contestant.py", *numbers, pool, threads]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=_environment(contestant, pool.parent, self.log.stem),
                # Its own group: a stop reaches its helpers too, and the kernel ends it if the driver dies.
                process_group=0,
            )

    def answer(self) -> dict[str, Any]:
        """The next line that it prints, then stop it. Raises `Lost`."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], PATIENCE_S)
        if not ready:
            raise Lost(f"no answer within {PATIENCE_S} s")
        line = self.process.stdout.readline()
        if not line:
            raise self._lost()
        os.killpg(self.process.pid, signal.SIGSTOP)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def measure(self, window_s: float) -> dict[str, Any]:
        """Let it train for about so long and stop it again. Raises `Lost`."""
        assert self.process.stdin is not None
        os.killpg(self.process.pid, signal.SIGCONT)
        try:
            self.process.stdin.write(json.dumps({"window_s": window_s}).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            raise self._lost() from None
        return self.answer()

    def close(self) -> None:
        """End the process and its helpers, stopped or not."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _lost(self) -> Lost:
        """How the process ended (-9: killed, as for lack of memory) and the last line that it left."""
        status = self.process.wait(timeout=60)
        lines = self.log.read_text(errors="replace").strip().splitlines() or ["no message"]
        return Lost(f"ended with status {status}: {lines[-1].strip()[:200]}")


def _environment(contestant: Contestant, scratch: Path, name: str) -> dict[str, str]:
    """Ours, with the user's own settings of Keras, remembered timings and compiled kernels out of the way."""
    own = {
        "KERAS_BACKEND": contestant.backend or "torch",
        "KERAS_HOME": str(scratch / "keras"),
        "XDG_CACHE_HOME": str(scratch / "cache"),
        "TORCHINDUCTOR_CACHE_DIR": str(scratch / f"{name}-inductor"),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "PYTHONPATH": str(REFERENCE),
    }
    kept = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
    return kept | own
