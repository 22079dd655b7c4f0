"""The machine's limit: what its libraries reach where nothing but arithmetic is asked for.

That is the best large square matrix product. A convolution is measured beside it: on some processors the fp32
convolution outruns the fp32 product, and then it is the limit of fp32.
"""

import statistics
from collections.abc import Callable

import torch
from torch.nn import functional as F

from toynet.speed.clock import repeat
from toynet.speed.records import Limits, Rate

SIZES = (1024, 2048, 4096)
_REPEATS = 5
_IMAGES, _CHANNELS, _SIDE, _KERNEL = 128, 128, 16, 3

Work = tuple[Callable[[], object], float]
"""A computation, and its GFLOP."""


def limits(device: str, seconds: float) -> Limits:
    """Measure on torch's threads for about `seconds`. Sizes that would take longer are left out."""
    jobs = {f"matrix product {size}": _product(size, device) for size in SIZES}
    jobs[f"convolution {_KERNEL}x{_KERNEL}, {_CHANNELS} channels"] = _convolution(device)
    share = seconds / (2 * len(jobs))
    found: dict[torch.dtype, list[float | None]] = {torch.float32: [], torch.bfloat16: []}
    for dtype, rates in found.items():
        for job in jobs.values():
            slowest = min((rate for rate in rates if rate), default=None)
            rates.append(_rate(job(dtype), device, share, slowest))
    fp32, bf16 = found.values()
    return Limits(
        rates=tuple(
            Rate(what=what, fp32_gflops=full, bf16_gflops=half)
            for what, full, half in zip(jobs, fp32, bf16, strict=True)
        ),
        fp32_gflops=max(rate for rate in fp32 if rate),
        bf16_gflops=max(rate for rate in bf16[: len(SIZES)] if rate),
    )


def _rate(work: Work, device: str, seconds: float, slowest: float | None) -> float | None:
    """GFLOP/s of `work`; none where, at the `slowest` rate so far, twice would take five times `seconds`."""
    compute, gflop = work
    if slowest is not None and 2 * gflop / slowest > 5 * seconds:
        return None
    found = repeat(compute, device, seconds=seconds, fewest=1, most=_REPEATS)
    return gflop / statistics.median(found)


def _product(size: int, device: str) -> Callable[[torch.dtype], Work]:
    def make(dtype: torch.dtype) -> Work:
        left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        result = torch.empty_like(left)
        return lambda: torch.mm(left, right, out=result), 2 * size**3 / 1e9

    return make


def _convolution(device: str) -> Callable[[torch.dtype], Work]:
    def make(dtype: torch.dtype) -> Work:
        layout = torch.channels_last
        images = torch.randn(_IMAGES, _CHANNELS, _SIDE, _SIDE, device=device).to(dtype, memory_format=layout)
        kernel = torch.randn(_CHANNELS, _CHANNELS, _KERNEL, _KERNEL, device=device).to(
            dtype, memory_format=layout
        )
        gflop = 2 * images.numel() * kernel[0].numel() / 1e9
        return lambda: F.conv2d(images, kernel, padding=1), gflop

    return make
