"""Which arithmetic a step uses, found by timing the real step once per machine and torch build."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from toynet.core.errors import ToyNetError
from toynet.core.files import read_json, write_json

Precision = Literal["bf16", "fp32"]
_CLEARLY_FASTER = 1.05
_ROUNDS = 4


@dataclass(frozen=True)
class Choice:
    """The arithmetic to use and a sentence on why."""

    precision: Precision
    why: str


def device() -> str:
    """`cuda` or `mps` where there is one, else `cpu`. Only `cpu` has been measured."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


@contextmanager
def arithmetic(precision: Precision, device_type: str) -> Iterator[None]:
    """bf16 autocast over fp32 weights, or plain fp32."""
    context = torch.autocast(device_type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()
    with context:
        yield


def choose(
    requested: Literal["auto", "bf16", "fp32"],
    *,
    key: str,
    memory: Path,
    time_step: Callable[[Precision], float],
) -> Choice:
    """Resolve `auto` by timing, or by what was found for the same `key` before and kept in `memory`.

    key: names machine, torch build, threads, model and batch. time_step: seconds of one training step.
    bf16 is taken only where it is clearly faster (5 %), since fp32 is the safer default.
    """
    if requested != "auto":
        return Choice(requested, f"{requested} was asked for")
    known = _remembered(memory)
    if key in known:
        fp32_s, bf16_s = known[key]
        when = "timed before on this machine"
    else:
        # In turn, and the best of each: a busy moment must not decide for all runs to come.
        rounds = [(time_step("fp32"), time_step("bf16")) for _ in range(_ROUNDS)]
        fp32_s, bf16_s = (min(seconds) for seconds in zip(*rounds, strict=True))
        when = "timed just now" if _remember(memory, {**known, key: [fp32_s, bf16_s]}) else "not remembered"
    precision: Precision = "bf16" if fp32_s > _CLEARLY_FASTER * bf16_s else "fp32"
    timing = f"a step takes {fp32_s * 1e3:.0f} ms in fp32, {bf16_s * 1e3:.0f} in bf16"
    return Choice(precision, f"{precision}: {timing} ({when})")


def _remembered(memory: Path) -> dict[str, list[float]]:
    """Earlier timings; none where the file is missing or damaged, for they can be taken again."""
    try:
        known = read_json(memory)
    except ToyNetError:
        return {}
    whole = isinstance(known, dict) and all(isinstance(v, list) and len(v) == 2 for v in known.values())
    return known if whole else {}


def _remember(memory: Path, known: dict[str, list[float]]) -> bool:
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_json(memory, known)
    except OSError:
        return False
    return True
