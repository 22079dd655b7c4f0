"""Convolutions padded as Keras' "same": by torch, by Winograd's filtering, in a matrix unit, or by products.

A processor's convolution kernels are made for large maps at stride 1. On small maps, gathering the patch
under every window into a row and multiplying once is faster, above all for the gradient by the kernel, and
a 1x1 convolution at stride 2 is nothing else. Where multiplications are dear, fewer of them beat both; where
a processor has a matrix unit, functions made for it do (results/kernels.json, results/kernels-epyc.json).
Results differ by rounding only.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

from toynet.kernels import maps as compiled
from toynet.kernels import matrix, winograd
from toynet.kernels.windows import Windows

Way = Literal["library", "weight", "product", "winograd", "matrix"]
"""By torch; by torch but for the gradient by the kernel; all as matrix products; by Winograd's filtering; in
a processor's matrix unit."""

LARGEST_PRODUCT = {1: 16, 2: 64}
"""By stride: the most outputs of a map for which everything is taken as a product."""

LARGEST_WEIGHT_PRODUCT, FEWEST_WEIGHT_CHANNELS = 64, 128
"""At stride 1, the most outputs and the fewest channels for the gradient by the kernel alone."""

FEWEST_TILES = {1: 32, 2: 128}
"""By stride, of a batch, for Winograd's filtering: with fewer, the kernels are most of the work."""

FEWEST_STRIDED_CHANNELS = 8
"""For torch's 1x1 convolutions at stride 2: with fewer, torch 2.13 writes outside its memory when it takes
the gradient by the kernel of fp32 maps, on processors with AVX2 alone."""

NARROWEST_WINOGRAD = 3
"""Of outputs at stride 1: a tile has four across, and torch leaves out what is outside the map."""


class SameConv(nn.Conv2d):
    """Convolution without bias, `side` 1 or 3: (N, C, H, W) -> (N, K, H/stride, W/stride), rounded up.

    At stride 2 an even side needs one line of padding in all, which goes to the bottom or right; torch's
    own `padding=1` would put it at the top or left and look at other pixels. The padded copy takes 3 % of a
    ToyNet14 step (bf16, two cores). A 4x4 kernel with a line of zeros, and padding by 2 with the first line
    of outputs dropped, cost more over the three stacks.
    """

    def __init__(self, in_channels: int, out_channels: int, side: int = 3, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, side, stride=stride, padding=side // 2, bias=False)
        self.compiled = False

    def forward(self, input: Tensor, addend: Tensor | None = None) -> Tensor:
        """The convolution, plus `addend` (N, K, H/stride, W/stride) where it is given."""
        if self.compiled and takes(input) and input.shape[1] == self.in_channels:
            windows = self.windows(input.shape)
            way = self.way(windows, len(input), input.dtype)
            if way in ("winograd", "matrix"):
                convolve = winograd.convolve if way == "winograd" else matrix.convolve
                if addend is None or _like(addend, input):
                    return convolve(input, self.weight, windows, addend)
                return plus(convolve(input, self.weight, windows), addend)
            # What products gain they gain by gradients.
            if way in ("weight", "product") and self.training:
                kernel = self.weight.to(input.dtype)
                return plus(_Convolution.apply(input, kernel, windows, way), addend)  # type: ignore[no-untyped-call]
        if (self.kernel_size[0], self.stride[0]) == (1, 2) and self.in_channels < FEWEST_STRIDED_CHANNELS:
            return plus(F.conv2d(input[:, :, ::2, ::2], self.weight), addend)
        (top, bottom), (left, right) = self.lines(input.shape)
        if top == bottom and left == right:
            return plus(super().forward(input), addend)
        padded = F.pad(input, (left, right, top, bottom))
        return plus(F.conv2d(padded, self.weight, stride=self.stride), addend)

    def lines(self, shape: torch.Size) -> tuple[tuple[int, int], tuple[int, int]]:
        """Lines of zeros above and below, and left and right, of maps of `shape`."""
        side, stride = self.kernel_size[0], self.stride[0]
        height, width = ((1, 1) if stride == 1 or length % 2 else (0, 1) for length in shape[-2:])
        return (height, width) if side == 3 else ((0, 0), (0, 0))

    def windows(self, shape: torch.Size) -> Windows:
        """The patches of maps of `shape` (N, C, H, W) that the outputs look at."""
        stride = self.stride[0]
        tall, wide = (-(-length // stride) for length in shape[-2:])
        (top, _), (left, _) = self.lines(shape)
        return Windows(tall, wide, side=self.kernel_size[0], stride=stride, top=top, left=left)

    def way(self, windows: Windows, images: int, numbers: torch.dtype) -> Way:
        """The way that is taken over these windows of so many maps, which hold `numbers`."""
        # In evaluation an image's outputs shall not depend on how many come with it.
        images = images if self.training else max(FEWEST_TILES.values())
        return choose_way(windows, images, self.in_channels, self.out_channels, numbers)


def plus(maps: Tensor, addend: Tensor | None) -> Tensor:
    """Their sum, or `maps` themselves where there is nothing to add."""
    return maps if addend is None else maps + addend


def choose_way(windows: Windows, images: int, channels: int, filters: int, numbers: torch.dtype) -> Way:
    """The fastest way to a convolution of these windows over `images` maps of `channels`, as measured.

    numbers: what the maps hold.
    """
    outputs = windows.tall * windows.wide
    if _in_matrix_unit(windows, channels, filters, numbers):
        return "matrix"
    if windows.side == 1:
        return "library" if windows.stride == 1 else "product"
    enough = winograd.tiles(windows, images, numbers) >= FEWEST_TILES[windows.stride]
    wide_enough = windows.stride == 2 or windows.wide >= NARROWEST_WINOGRAD
    if enough and wide_enough and winograd.takes(channels, filters) and winograd.pays(numbers):
        return "winograd"
    if outputs <= LARGEST_PRODUCT[windows.stride]:
        return "product"
    few = windows.stride == 1 and outputs <= LARGEST_WEIGHT_PRODUCT
    return "weight" if few and channels >= FEWEST_WEIGHT_CHANNELS else "library"


def _in_matrix_unit(windows: Windows, channels: int, filters: int, numbers: torch.dtype) -> bool:
    """Whether there is one, that is used for these: for 3x3, and 1x1 at a stride."""
    if numbers != torch.bfloat16 or (windows.side, windows.stride) == (1, 1):
        return False
    return matrix.takes(channels, filters) and matrix.is_there()


def takes(maps: Tensor) -> bool:
    """Whether functions here can be had for `maps` in the arithmetic that autocast, if it is on, asks for."""
    cast = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") != maps.dtype
    return not cast and compiled.takes(maps)


def _like(addend: Tensor, maps: Tensor) -> bool:
    """Whether `addend` holds the numbers of `maps`, in their order."""
    return compiled.takes(addend) and addend.dtype == maps.dtype


class _Convolution(torch.autograd.Function):
    """The convolution of maps (N, C, H, W) with a kernel (K, C, side, side), by way of products."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, windows: Windows, way: Way) -> Tensor:
        ctx.windows, ctx.way = windows, way
        if way == "weight":
            ctx.save_for_backward(maps, weight)
            return F.conv2d(maps, weight, padding=windows.top)
        patches = windows.gather(maps)
        # Those of single pixels are fewer than the maps; others are many, and gathered again.
        ctx.save_for_backward(maps, weight, *([patches] if windows.side == 1 else []))
        shape = len(maps), len(weight), windows.tall, windows.wide
        result = torch.empty(shape, dtype=maps.dtype, memory_format=torch.channels_last)
        rows = result.permute(0, 2, 3, 1).view(-1, len(weight))
        torch.mm(patches, _matrix(weight).t(), out=rows)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        maps, weight, *kept = ctx.saved_tensors
        windows = ctx.windows
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        rows = gradient.permute(0, 2, 3, 1).reshape(-1, len(weight))
        by_maps = by_weight = None
        if ctx.needs_input_grad[1]:
            product = rows.t() @ (kept[0] if kept else windows.gather(maps))
            by_weight = product.view(len(weight), windows.side, windows.side, -1).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[0] and ctx.way == "product":
            by_maps = windows.fold(rows @ _matrix(weight), maps.shape)
        elif ctx.needs_input_grad[0]:
            by_maps = conv2d_input(maps.shape, weight, gradient, padding=windows.top)  # type: ignore[no-untyped-call]
        return by_maps, by_weight, None, None


def _matrix(weight: Tensor) -> Tensor:
    """A kernel (K, C, side, side) as (K, side side C)."""
    return weight.permute(0, 2, 3, 1).reshape(len(weight), -1)
