"""Compiled kernels beside torch's: python benchmarks/kernels.py [--precision fp32] > results/kernels.json

Times a training pass, forward and backward by all inputs, of single layers on bf16 or fp32 maps in
channels-last order, the ways in turn, and prints JSON: median milliseconds and quartiles of each. Run it on
an otherwise idle machine; it takes about three minutes.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from toynet.core.environment import describe
from toynet.core.memory import keep_freed_memory
from toynet.models import same
from toynet.models.chain import Chain, use_compiled
from toynet.models.same import SameConv
from toynet.training.precision import DTYPES, Precision, arithmetic

WARM_UP, ROUNDS = 3, 15
CONVOLUTIONS = [
    # batch, channels in, channels out, side of the input, side of the kernel, stride
    *[
        (batch, *shape)
        for batch in (32, 128)
        for shape in (
            (16, 16, 32, 3, 1),
            (32, 32, 16, 3, 1),
            (64, 64, 8, 3, 1),
            (128, 128, 4, 3, 1),
            (64, 64, 32, 3, 1),
            (64, 128, 32, 3, 2),
            (64, 128, 32, 1, 2),
            (128, 128, 16, 3, 1),
            (128, 256, 16, 3, 2),
            (256, 256, 8, 3, 1),
            (256, 512, 8, 3, 2),
            (256, 512, 8, 1, 2),
            (512, 512, 4, 3, 1),
        )
    ],
    (250, 64, 64, 15, 3, 1),
    (250, 64, 256, 15, 3, 1),
    (250, 256, 256, 7, 3, 1),
    (250, 256, 256, 3, 3, 1),
]
LAYERS: list[tuple[str, Callable[[int], list[nn.Module]], tuple[int, ...]]] = [
    ("batch norm, ReLU", lambda width: [nn.BatchNorm2d(width), nn.ReLU()], (128, 64, 32, 32)),
    ("batch norm, ReLU", lambda width: [nn.BatchNorm2d(width), nn.ReLU()], (128, 16, 32, 32)),
    ("batch norm, ReLU", lambda width: [nn.BatchNorm2d(width), nn.ReLU()], (128, 256, 8, 8)),
    ("batch norm, GELU", lambda width: [nn.BatchNorm2d(width), nn.GELU()], (250, 64, 15, 15)),
    ("batch norm, GELU", lambda width: [nn.BatchNorm2d(width), nn.GELU()], (250, 256, 7, 7)),
    ("max-pooling 2x2", lambda _: [nn.MaxPool2d(2)], (250, 64, 31, 31)),
    ("max-pooling 2x2", lambda _: [nn.MaxPool2d(2)], (250, 256, 15, 15)),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", choices=DTYPES, default="bf16")
    precision = parser.parse_args().precision
    keep_freed_memory()
    rows = [convolution(precision, *shape) for shape in CONVOLUTIONS]
    rows += [layers(precision, *case) for case in LAYERS]
    about = {"precision": precision, "threads": torch.get_num_threads()}
    print(json.dumps({**about, "rows": rows, "environment": describe()}, indent=2))


def convolution(
    precision: Precision, batch: int, channels: int, filters: int, side: int, kernel: int, stride: int
):
    """Every way of one convolution, and the one that the code takes."""
    layer = SameConv(channels, filters, kernel, stride)
    use_compiled(Chain(layer), True)
    maps = draw(precision, batch, channels, side, side)
    taken = same.choose_way(layer.windows(maps.shape), batch, channels, filters, maps.dtype)
    choose = same.choose_way

    def passes(way: str) -> Callable[[], None]:
        def once() -> None:
            same.choose_way = lambda *_: way
            train(precision, layer, maps)
            same.choose_way = choose

        return once

    ways = ["library", "product"] + ["weight"] * (stride == 1 and kernel == 3) + ["winograd"] * (kernel == 3)
    ways += ["matrix"] * (taken == "matrix")
    about = {"what": f"convolution {kernel}x{kernel}", "stride": stride, "in": [batch, channels, side, side]}
    return {**about, "out": filters, "taken": taken, "ms": race({way: passes(way) for way in ways})}


def layers(precision: Precision, name: str, build: Callable[[int], list[nn.Module]], shape: tuple[int, ...]):
    """torch's and the compiled way through a chain of layers."""
    chain, maps = Chain(*build(shape[1])), draw(precision, *shape)

    def passes(compiled: bool) -> Callable[[], None]:
        def once() -> None:
            use_compiled(chain, compiled)
            train(precision, chain, maps)

        return once

    return {"what": name, "in": list(shape), "ms": race({"torch": passes(False), "compiled": passes(True)})}


def draw(precision: Precision, *shape: int) -> Tensor:
    maps = torch.randn(shape).to(DTYPES[precision])
    return maps.contiguous(memory_format=torch.channels_last).requires_grad_()


def train(precision: Precision, layer: nn.Module, maps: Tensor) -> None:
    """Forward and backward in that arithmetic."""
    with arithmetic(precision, "cpu"):
        out = layer(maps)
    torch.autograd.grad(out, [maps, *layer.parameters()], torch.ones_like(out))


def race(ways: dict[str, Callable[[], None]]) -> dict[str, list[float]]:
    """Lower quartile, median and upper quartile of each in milliseconds."""
    times: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(WARM_UP + ROUNDS):
        for way, once in ways.items():
            started = time.perf_counter()
            once()
            if number >= WARM_UP:
                times[way].append((time.perf_counter() - started) * 1e3)
    return {
        way: [round(value, 3) for value in statistics.quantiles(taken, n=4)] for way, taken in times.items()
    }


if __name__ == "__main__":
    main()
