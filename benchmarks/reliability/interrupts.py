"""Goal 6, one process: SIGTERM and SIGINT at random moments of a training that `toynet train` began."""

import os
import random
import signal
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from reliability import tiny
from toynet.core.errors import CheckpointError
from toynet.training import checkpoints

COUNT = 100
SHORT = 4
_LONGEST_S, _LONGEST_SECOND_S = 10.0, 1.0


def prove(count: int) -> dict[str, Any]:
    """Signal `count` trainings; every fourth gets a second Ctrl-C at once."""
    draw = random.Random(6)
    words = tiny.overrides(tiny.recipe(**{"train.epochs": 10_000, "train.checkpoint_every": 10_000}))
    codes: Counter[str] = Counter()
    waits, second_waits, saved, whole, right = [], [], 0, 0, 0
    with tempfile.TemporaryDirectory() as name:
        os.environ["TOYNET_RUNS"] = name
        for number in range(count):
            run = Path(name) / f"run{number}"
            arguments = ["train", "quick", "--name", run.name, *words]
            child = tiny.fork(lambda a=arguments, r=run: tiny.command(a, r.with_suffix(".log")))
            _wait_for(run / "metrics.jsonl", child)
            time.sleep(draw.uniform(0, 0.3))
            twice = number % 4 == 3
            kind = signal.SIGINT if twice else draw.choice([signal.SIGINT, signal.SIGTERM])
            os.kill(child, kind)
            if twice:
                time.sleep(draw.uniform(0, 0.01))
                os.kill(child, kind)
            started = time.monotonic()
            code = tiny.ended(child, timeout_s=60)
            (second_waits if twice else waits).append(time.monotonic() - started)
            codes[f"{kind.name}{' twice' if twice else ''}: {code}"] += 1
            right += code == 128 + kind
            # The second Ctrl-C gives up the save of the first; what was saved before that is still there.
            saved += twice or checkpoints.load_latest(run / "checkpoints")[1].step > 0
            whole += all(
                _is_whole(run / "checkpoints" / one) for one in checkpoints.names(run / "checkpoints")
            )
    p99 = sorted(waits)[max(0, -(-99 * len(waits) // 100) - 1)]
    return {
        "signals": count,
        "exit_codes": dict(codes),
        "right_exit_code": right,
        "saved_unless_told_twice": saved,
        "nothing_half_saved": whole,
        "exit_s": {"median": statistics.median(waits), "p99": p99, "most": max(waits)},
        "exit_after_second_s": {"most": max(second_waits, default=None)},
        "passed": right == saved == whole == count
        and p99 <= _LONGEST_S
        and max(second_waits, default=0) <= _LONGEST_SECOND_S,
    }


def _is_whole(path: Path) -> bool:
    try:
        checkpoints.load(path)
    except CheckpointError:
        return False
    return True


def _wait_for(path: Path, child: int) -> None:
    deadline = time.monotonic() + 120
    while not path.exists() or not path.stat().st_size:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            raise TimeoutError(f"no epoch in {path} after two minutes")
        time.sleep(0.005)
