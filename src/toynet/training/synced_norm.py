"""Batch norm over the images of all ranks, so that several processes train as one would.

As `torch.nn.SyncBatchNorm`, which knows GPUs only. Means and variances are combined as in Chan et al. 1979,
"Updating formulae and a pairwise algorithm for computing sample variances", eq. 2.1; they differ from those
of one process by rounding.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from toynet.training.distributed import Ranks


class SyncedBatchNorm(nn.BatchNorm2d):
    """Takes the weights and moving statistics of `norm`, without a copy; in evaluation it is `norm`."""

    def __init__(self, norm: nn.BatchNorm2d, ranks: Ranks) -> None:
        super().__init__(norm.num_features, eps=norm.eps, momentum=norm.momentum, device="meta")
        self._parameters, self._buffers = norm._parameters, norm._buffers
        self.training, self.ranks = norm.training, ranks

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        normed: Tensor = _Normalise.apply(input, self.weight, self.bias, self)  # type: ignore[no-untyped-call]
        return normed


@contextmanager
def synced(model: nn.Module, ranks: Ranks) -> Iterator[None]:
    """Let every batch norm inside `model` see all ranks' images, for the length of the block."""
    places = [
        (parent, name, child)
        for parent in (model.modules() if ranks.size > 1 else ())
        for name, child in parent.named_children()
        if isinstance(child, nn.BatchNorm2d)
    ]
    for parent, name, child in places:
        setattr(parent, name, SyncedBatchNorm(child, ranks))
    try:
        yield
    finally:
        for parent, name, child in places:
            setattr(parent, name, child)


class _Normalise(torch.autograd.Function):
    """Two exchanges: means and variances on the way forward, two sums a channel on the way back."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, norm: SyncedBatchNorm) -> Tensor:
        mean, variance, count = _over_ranks(maps, norm.ranks)
        _move_averages(norm, mean, variance, count)
        ctx.save_for_backward(maps, weight, mean, variance)
        ctx.count, ctx.eps, ctx.ranks = count, norm.eps, norm.ranks
        return F.batch_norm(maps, mean, variance, weight, bias, training=False, eps=norm.eps)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        maps, weight, mean, variance = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        inverse = (variance + ctx.eps).rsqrt()
        by_weight, by_bias = _sums(gradient, maps, weight, mean, variance, ctx.eps)
        over_ranks = torch.stack([by_weight, by_bias])
        ctx.ranks.add_up(over_ranks)
        # With g the gradient and x' the normalised map: weight / deviation * (g - mean(g) - x' mean(g x')).
        scale = weight * inverse
        slope = scale * inverse * over_ranks[0] / ctx.count
        level = scale * over_ranks[1] / ctx.count - slope * mean
        scale, slope, level = (one[:, None, None] for one in (scale, slope, level))
        by_maps = (gradient * scale).sub_(maps * slope).sub_(level).to(maps.dtype)
        wanted = ctx.needs_input_grad
        return by_maps, by_weight if wanted[1] else None, by_bias if wanted[2] else None, None


def _over_ranks(maps: Tensor, ranks: Ranks) -> tuple[Tensor, Tensor, float]:
    """Mean and biased variance (C,) of all ranks' `maps` (N, C, H, W), and how many values a channel has."""
    channels = maps.shape[1]
    mine = torch.zeros(2 * channels + 1, device=maps.device)
    if len(maps):
        # The throw-away averages make it compute in float32 whatever the maps' type.
        unused = mine.new_zeros(channels), mine.new_zeros(channels)
        mean, variance = torch.batch_norm_update_stats(maps, unused[0], unused[1], 0.0)
        torch.cat([mean, variance, mine.new_tensor([maps.numel() // channels])], out=mine)
    everyone = ranks.gather(mine)
    counts = everyone[:, -1:]
    means, variances = everyone[:, :channels], everyone[:, channels:-1]
    count = counts.sum()
    mean = (means * counts).sum(dim=0) / count
    variance = ((variances + (means - mean).square()) * counts).sum(dim=0) / count
    return mean, variance, count.item()


def _sums(
    gradient: Tensor, maps: Tensor, weight: Tensor, mean: Tensor, variance: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    """The gradients by weight and bias (C,) from this rank's images."""
    if not len(maps):
        return torch.zeros_like(weight), torch.zeros_like(weight)
    _, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
        gradient, maps, weight, mean, variance, None, None, False, eps, [False, True, True]
    )
    return by_weight, by_bias


def _move_averages(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: float) -> None:
    """As `nn.BatchNorm2d`: the moving variance takes the unbiased one."""
    averages = norm.running_mean, norm.running_var, norm.num_batches_tracked
    if averages[0] is None or averages[1] is None or averages[2] is None or norm.momentum is None:
        raise ValueError("a synchronised batch norm needs moving averages and a momentum")
    averages[0].lerp_(mean, norm.momentum)
    averages[1].lerp_(variance * (count / (count - 1)), norm.momentum)
    averages[2].add_(1)
