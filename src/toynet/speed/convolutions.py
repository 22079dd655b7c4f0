"""How fast a model's convolutions are on their own, with nothing between them."""

import statistics
from functools import partial

import torch
from torch import Tensor, nn

from toynet.models.chain import uncompiled
from toynet.models.cost import FLOP_PER_MAC, cost
from toynet.runs import subject
from toynet.runs.folder import DataCard
from toynet.runs.recipe import Recipe
from toynet.speed.clock import repeat
from toynet.training.precision import arithmetic, device
from toynet.training.setup import Setup, prepare, stated

_FEWEST, _MOST = 2, 5


def convolution_rate(recipe: Recipe, card: DataCard, seconds: float) -> float:
    """GFLOP/s of all convolutions, forward and backward, each on the maps it meets in a training step.

    Only gradients that training needs are counted: none for the first layer's input, none for frozen weights.
    FLOPs are those of direct convolution, although Winograd's filtering needs fewer.
    """
    setup, where = stated(recipe.train), device()
    model = subject.build_model(recipe, card).to(where)
    prepare(model, setup)
    count = recipe.train.micro_batch or recipe.train.batch_size
    met = _inputs(model, card, count, setup, where)
    macs = {layer.path: layer.macs for layer in cost(model, card.image_shape).layers}
    layers = {path: layer for path, layer in model.named_modules() if path in met}
    gflop = total = 0.0
    for path, layer in layers.items():
        maps = met[path]
        work = partial(_pass, layer, maps, setup, where)
        found = repeat(work, where, seconds=seconds / len(layers), fewest=_FEWEST, most=_MOST)
        total += statistics.median(found)
        gflop += FLOP_PER_MAC * macs[path] * count * (1 + len(_wanted(layer, maps))) / 1e9
    return gflop / total


def _inputs(model: nn.Module, card: DataCard, count: int, setup: Setup, where: str) -> dict[str, Tensor]:
    """What each convolution of `model` is given in training, by its path."""
    met: dict[str, Tensor] = {}

    def record(path: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        met[path] = inputs[0].detach().requires_grad_(inputs[0].requires_grad)

    handles = [
        layer.register_forward_pre_hook(partial(record, path))
        for path, layer in model.named_modules()
        if isinstance(layer, nn.Conv2d)
    ]
    height, width, channels = card.image_shape
    images = torch.randn(count, channels, height, width, device=where)
    with uncompiled(model), arithmetic(setup.precision, where):
        model(images.contiguous(memory_format=setup.layout))
    for handle in handles:
        handle.remove()
    return met


def _wanted(layer: nn.Module, maps: Tensor) -> list[Tensor]:
    """The tensors that a backward pass finds gradients for."""
    return [tensor for tensor in (maps, *layer.parameters()) if tensor.requires_grad and tensor.ndim == 4]


def _pass(layer: nn.Module, maps: Tensor, setup: Setup, where: str) -> None:
    """Forward and backward."""
    with arithmetic(setup.precision, where):
        out: Tensor = layer(maps)
    if wanted := _wanted(layer, maps):
        torch.autograd.grad(out, wanted, torch.ones_like(out))
