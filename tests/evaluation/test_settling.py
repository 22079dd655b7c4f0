"""Batch norm's averages: the share that is reckoned to be left of their start, and what torch leaves."""

import pytest
import torch
from torch import nn

from toynet.data import batches
from toynet.evaluation.settling import SETTLED, epochs_to_settle, remainder
from toynet.models import catalog
from toynet.models.spec import ModelSpec
from toynet.training.course import Course
from toynet.training.spec import TrainSpec


def newest(name: str) -> float:
    """What a batch norm of the model that is called `name` gives the newest batch."""
    model = catalog.build(ModelSpec(name=name), classes=3, image_shape=(32, 32, 3), seed=0)
    (momentum,) = {layer.momentum for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)}
    return momentum


@pytest.mark.parametrize("name", catalog.names())
def test_what_is_left_is_what_torch_leaves(name: str) -> None:
    layer = nn.BatchNorm2d(1, momentum=newest(name))
    start, passes = torch.full((1,), 1000.0), 4
    layer.running_mean.copy_(start)
    for _ in range(passes):
        layer(torch.randn(8, 1, 4, 4) * 1e-3)
    left = (layer.running_mean / start).item()
    assert remainder({"model.name": name}, passes) == pytest.approx(left, abs=1e-5)


@pytest.mark.parametrize("images", [16, 60, 64, 65, 120, 129, 300])
@pytest.mark.parametrize(("batch", "micro"), [(64, None), (64, 32), (50, 20), (250, 125)])
def test_passes_are_those_that_the_loop_makes(images: int, batch: int, micro: int | None) -> None:
    """As `forward_backward` takes the batches of an epoch apart, a small last one too."""
    spec = TrainSpec(epochs=3, batch_size=batch, micro_batch=micro)
    pieces = [
        first
        for rows in batches.batches(images, batch)
        for first in range(0, rows.stop - rows.start, micro or batch)
    ]
    assert Course.of(spec, images).passes == (len(pieces),) * 3


def test_weights_from_a_file_bring_their_averages() -> None:
    assert remainder({"model.name": "toynet14", "model.weights": "trained.h5"}, 1) == 0


@pytest.mark.parametrize(("epochs", "passes"), [(1, 1), (4, 20), (7, 91), (6, 294)])
def test_so_many_epochs_settle_them_and_one_less_does_not(epochs: int, passes: int) -> None:
    settings = {"model.name": "toynet14"}
    wanted = epochs_to_settle(remainder(settings, passes), epochs)
    assert remainder(settings, passes // epochs * wanted) <= SETTLED
    assert remainder(settings, passes // epochs * (wanted - 1)) > SETTLED
