"""3x3 convolutions of small maps as matrix products over gathered patches.

A processor's convolution kernels are made for large maps. On maps of 4x4, gathering every 3x3 patch into a
row and multiplying once took as long at worst and less than half as long at best; on maps of 8x8 the
kernels won (results/small-maps.json). The result is the same but for rounding. It applies to training
under bf16 autocast only, and only where `use_products` switched it on.

Source: im2col, Chellapilla et al. 2006, "High performance convolutional neural networks for document
processing". Ours gathers channels-last rows, and takes the input gradient of stride 1 as a second
convolution instead of folding patches back.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 3
LARGEST_MAP = 16
"""Most positions in an output map for which a product is taken."""

Padding = tuple[int, int, int, int]
"""Lines added at the left, right, top and bottom."""


class SameConv(nn.Conv2d):
    """3x3 convolution without bias, padded as Keras' "same": (N, C, H, W) -> (N, K, H/stride, W/stride).

    At stride 2 an even side needs one line of padding in all, which goes to the bottom or right; torch's
    own `padding=1` would put it at the top or left and look at other pixels. The padded copy takes 3 % of a
    ToyNet14 step (bf16, two cores). A 4x4 kernel with a line of zeros, and padding by 2 with the first line
    of outputs dropped, cost more over the three stacks.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, SIDE, stride=stride, padding=1, bias=False)
        self.product = False

    def forward(self, input: Tensor) -> Tensor:
        height, width = input.shape[-2:]
        stride = self.stride[0]
        padding = (*_lines(width, stride), *_lines(height, stride))
        if self.product and self.training and _small(height, width, stride) and _in_bf16(input):
            return _product(input, self.weight, stride, padding)
        if padding == (1, 1, 1, 1):
            return super().forward(input)
        return F.conv2d(F.pad(input, padding), self.weight, stride=stride)


def use_products(model: nn.Module, wanted: bool) -> None:
    """Let every `SameConv` of `model` take matrix products in training where its maps are small, or not."""
    for layer in model.modules():
        if isinstance(layer, SameConv):
            layer.product = wanted


def _lines(side: int, stride: int) -> tuple[int, int]:
    """Padding before and after `side` pixels."""
    return (1, 1) if stride == 1 or side % 2 else (0, 1)


def _small(height: int, width: int, stride: int) -> bool:
    return -(-height // stride) * -(-width // stride) <= LARGEST_MAP


def _in_bf16(tensor: Tensor) -> bool:
    kind = tensor.device.type
    return torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.bfloat16


def _product(maps: Tensor, weight: Tensor, stride: int, padding: Padding) -> Tensor:
    result: Tensor = _Product.apply(maps.bfloat16(), weight.bfloat16(), stride, padding)  # type: ignore[no-untyped-call]
    return result


def _patches(rows: Tensor, stride: int, padding: Padding) -> Tensor:
    """The 3x3 patches of maps (N, H, W, C), a row each: (N h w, 9 C), by row, column, channel."""
    padded = F.pad(rows, (0, 0, *padding)).contiguous()
    count, height, width, channels = padded.shape
    image, line, pixel, _ = padded.stride()
    out = (height - SIDE) // stride + 1, (width - SIDE) // stride + 1
    # A row of three pixels lies in one piece.
    size = (count, *out, SIDE, SIDE * channels)
    windows = padded.as_strided(size, (image, line * stride, pixel * stride, line, 1))
    return windows.reshape(-1, SIDE * SIDE * channels)


class _Product(torch.autograd.Function):
    """The convolution of bf16 maps (N, C, H, W) with a kernel (K, C, 3, 3), both ways as matrix products."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, stride: int, padding: Padding) -> Tensor:
        ctx.save_for_backward(maps, weight)
        ctx.stride, ctx.padding = stride, padding
        rows = maps.permute(0, 2, 3, 1)
        kernel = weight.permute(2, 3, 1, 0).reshape(-1, len(weight))
        height, width = (-(-side // stride) for side in maps.shape[2:])
        result = _patches(rows, stride, padding) @ kernel
        return result.view(len(maps), height, width, -1).permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        maps, weight = ctx.saved_tensors
        rows = gradients[0].permute(0, 2, 3, 1).contiguous()
        by_maps = by_weight = None
        if ctx.needs_input_grad[0]:
            by_maps = _by_maps(rows, weight, maps.shape, ctx.stride, ctx.padding).permute(0, 3, 1, 2)
        if ctx.needs_input_grad[1]:
            patches = _patches(maps.permute(0, 2, 3, 1), ctx.stride, ctx.padding)
            product = rows.view(-1, len(weight)).t() @ patches
            by_weight = product.view(len(weight), SIDE, SIDE, -1).permute(0, 3, 1, 2)
        return by_maps, by_weight, None, None


def _by_maps(rows: Tensor, weight: Tensor, shape: torch.Size, stride: int, padding: Padding) -> Tensor:
    """The gradient (N, H, W, C) by maps of `shape` (N, C, H, W), from that by the outputs (N, h, w, K)."""
    count, channels, height, width = shape
    if stride == 1:
        turned = weight.flip(2, 3).permute(2, 3, 0, 1).reshape(-1, channels)
        return (_patches(rows, 1, (1, 1, 1, 1)) @ turned).view(count, height, width, channels)
    left, right, top, bottom = padding
    pieces = rows.view(-1, len(weight)) @ weight.permute(0, 2, 3, 1).reshape(len(weight), -1)
    pieces = pieces.view(*rows.shape[:3], SIDE, SIDE, channels)
    total = rows.new_zeros(count, height + top + bottom, width + left + right, channels, dtype=torch.float32)
    reach_y, reach_x = (stride * side for side in rows.shape[1:3])
    for y in range(SIDE):
        for x in range(SIDE):
            total[:, y : y + reach_y : stride, x : x + reach_x : stride] += pieces[:, :, :, y, x]
    return total[:, top : top + height, left : left + width].to(rows.dtype)
