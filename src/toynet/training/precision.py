"""Where a step is computed and in which arithmetic."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Literal

import torch

from toynet.core.environment import flags

Precision = Literal["bf16", "fp32"]

DTYPES: dict[Precision, torch.dtype] = {"bf16": torch.bfloat16, "fp32": torch.float32}
"""What maps hold."""

BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""As Linux names instructions for bf16 on x86-64 and on ARM."""

_SIDE, _ROUNDS, _HOPELESS = 192, 5, 3.0

_ROOM_OF_A_RUN = 3 * 2**30
"""Bytes: a wide ToyNet14 takes 1.6 GiB at batch 512, and CUDA itself some hundred MiB."""


def device() -> str:
    """`cuda` or `mps` where there is one, else `cpu`."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def runs_with_room() -> int | None:
    """How many runs may go on at once in the free memory of a CUDA device; none where cores alone decide."""
    if device() != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info()
    return max(1, free // _ROOM_OF_A_RUN)


@cache
def promising(device_type: str) -> tuple[Precision, ...]:
    """The precisions that may be the fastest on `device_type`, from the most exact on.

    A processor without instructions for bf16 may take two hundred times as long for it as for fp32: it is
    known by small products, a tenth of a second in all.
    """
    if device_type == "cpu" and _product_s(torch.bfloat16) > _HOPELESS * _product_s(torch.float32):
        return ("fp32",)
    return ("fp32", "bf16")


def coarse(device_type: str) -> torch.dtype:
    """What serves for products that need few digits: bf16, on a processor without instructions for it fp32.

    Known by the processor's own word, so that a run on it always takes the same.
    """
    return DTYPES["bf16" if device_type != "cpu" or BF16_FLAGS & flags() else "fp32"]


def _product_s(numbers: torch.dtype) -> float:
    """Seconds of a small matrix product, the best of some."""
    factor = torch.ones(_SIDE, _SIDE, dtype=numbers)
    best = math.inf
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        factor @ factor
        best = min(best, time.perf_counter() - started)
    return best


@contextmanager
def arithmetic(precision: Precision, device_type: str) -> Iterator[None]:
    """bf16 autocast over fp32 weights, or fp32; on CUDA its products may be TF32."""
    if device_type == "cuda" and precision == "fp32":
        torch.set_float32_matmul_precision("high")
    if precision == "fp32":
        yield
        return
    # What is recorded for replay (`training.replay`) must not take its weights from a cache.
    with torch.autocast(device_type, dtype=torch.bfloat16, cache_enabled=device_type != "cuda"):
        yield


def seed_dropout(seed: int, device_type: str) -> None:
    """Let what a model draws while it learns begin from `seed`."""
    if device_type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)  # of every device, which takes a hundred times as long


@contextmanager
def repeatable(device_type: str) -> Iterator[None]:
    """On CUDA no algorithm that sums in another order each time, so that a run gives the same bits again."""
    if device_type == "cuda":
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
            yield
    else:
        yield
