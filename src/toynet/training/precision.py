"""Where a step is computed and in which arithmetic."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal

import torch

Precision = Literal["bf16", "fp32"]


def device() -> str:
    """`cuda` or `mps` where there is one, else `cpu`. Only `cpu` has been measured."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


@contextmanager
def arithmetic(precision: Precision, device_type: str) -> Iterator[None]:
    """bf16 autocast over fp32 weights, or fp32; on CUDA its products may be TF32."""
    if device_type == "cuda" and precision == "fp32":
        torch.set_float32_matmul_precision("high")
    context = torch.autocast(device_type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()
    with context:
        yield
