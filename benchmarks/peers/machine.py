"""How fast this machine is: python machine.py THREADS prints GFLOP/s of torch's matrix product as JSON.

`other_work` tells what else it is doing.
"""

import json
import os
import statistics
import sys
import time

from toynet.core.environment import busy_cores

QUIET_CORES = 0.25
"""Other work below this counts as an idle machine: the clock ticks of a look are a twentieth of a core."""

_SIDE, _SECONDS = 2048, 1.5


def other_work() -> float | None:
    """Cores that something else keeps busy, the least of three looks; none where the system does not tell."""
    looks = [busy for _ in range(3) if (busy := busy_cores()) is not None]
    return round(min(looks), 2) if looks else None


def matrix_product() -> dict[str, float]:
    """GFLOP/s of products of two 2048 x 2048 matrices, the median over a second and a half, at least one."""
    import torch

    found = {}
    for name, dtype in {"fp32": torch.float32, "bf16": torch.bfloat16}.items():
        left, right = (torch.randn(_SIDE, _SIDE).to(dtype) for _ in range(2))
        rates: list[float] = []
        until = time.perf_counter() + _SECONDS
        while not rates or time.perf_counter() < until:
            started = time.perf_counter()
            left @ right
            rates.append(2 * _SIDE**3 / (time.perf_counter() - started) / 1e9)
        found[name] = round(statistics.median(rates), 1)
    return found


def take_cores(count: int) -> None:
    """Keep this process to `count` cores. Every library here takes as many threads as it sees cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


if __name__ == "__main__":
    take_cores(int(sys.argv[1]))
    print(json.dumps(matrix_product()))
