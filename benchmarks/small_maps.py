"""Convolutions of small maps, the library's against one matrix product: python benchmarks/small_maps.py

Times a training pass (forward, and backward by input and weight) of single 3x3 convolutions under bf16
autocast, the two ways in turn, and prints JSON: median milliseconds and quartiles of each, and their ratio.
Run it on an otherwise idle machine.
"""

import json
import statistics
import time

import torch

from toynet.core.environment import describe
from toynet.core.memory import keep_freed_memory
from toynet.models import products
from toynet.models.products import SameConv

WARM_UP, ROUNDS = 3, 15
SHAPES = [
    # batch, channels in, channels out, side of the input, stride
    (batch, *shape)
    for batch in (32, 128, 500)
    for shape in (
        (512, 512, 4, 1),
        (256, 512, 8, 2),
        (256, 256, 4, 1),
        (256, 256, 3, 1),
        (128, 128, 4, 1),
        (256, 256, 8, 1),
        (128, 256, 16, 2),
    )
]


def main() -> None:
    keep_freed_memory()
    products.LARGEST_MAP = 64  # so that maps beyond the limit are seen as well
    rows = [row(*shape) for shape in SHAPES]
    print(json.dumps({"threads": torch.get_num_threads(), "rows": rows, "environment": describe()}, indent=2))


def row(batch: int, channels: int, width: int, side: int, stride: int):
    """Both ways of one convolution."""
    layer = SameConv(channels, width, stride)
    images = torch.randn(batch, channels, side, side).contiguous(memory_format=torch.channels_last)
    images = images.bfloat16().requires_grad_()
    gradient = torch.randn(batch, width, side // stride, side // stride).bfloat16()
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    times = {"direct": [], "product": []}
    for number in range(WARM_UP + ROUNDS):
        for way, seconds in times.items():
            layer.product = way == "product"
            started = time.perf_counter()
            with torch.autocast("cpu", dtype=torch.bfloat16):
                out = layer(images)
            torch.autograd.grad(out, (images, layer.weight), gradient)
            if number >= WARM_UP:
                seconds.append((time.perf_counter() - started) * 1e3)
    found = {"batch": batch, "in": channels, "out": width, "side": side, "stride": stride}
    for way, seconds in times.items():
        low, middle, high = statistics.quantiles(seconds, n=4)
        found[f"{way}_ms"] = [round(value, 3) for value in (low, middle, high)]
    return {**found, "direct_over_product": round(found["direct_ms"][1] / found["product_ms"][1], 2)}


if __name__ == "__main__":
    main()
