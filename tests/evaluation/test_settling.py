"""Batch norm's averages: the share that is reckoned to be left of their start, and what torch leaves."""

import pytest
import torch
from torch import nn

from toynet.evaluation.settling import SETTLED, epochs_to_settle, remainder
from toynet.models import catalog
from toynet.models.spec import ModelSpec


def newest(name: str) -> float:
    """What a batch norm of the model that is called `name` gives the newest batch."""
    model = catalog.build(ModelSpec(name=name), classes=3, image_shape=(32, 32, 3), seed=0)
    (momentum,) = {layer.momentum for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)}
    return momentum


@pytest.mark.parametrize("name", catalog.names())
@pytest.mark.parametrize("micro_batch", [None, 5])
def test_what_is_left_is_what_torch_leaves(name: str, micro_batch: int | None) -> None:
    settings = {"model.name": name, "train.batch_size": 16, "train.micro_batch": micro_batch}
    layer = nn.BatchNorm2d(1, momentum=newest(name))
    start, steps = torch.full((1,), 1000.0), 3
    layer.running_mean.copy_(start)
    for _ in range(steps * (4 if micro_batch else 1)):  # 5 + 5 + 5 + 1 images
        layer(torch.randn(8, 1, 4, 4) * 1e-3)
    assert remainder(settings, steps) == pytest.approx((layer.running_mean / start).item(), abs=1e-5)


def test_weights_from_a_file_bring_their_averages() -> None:
    assert remainder({"model.name": "toynet14", "model.weights": "trained.h5"}, 1) == 0


@pytest.mark.parametrize(("epochs", "steps"), [(1, 1), (4, 20), (7, 91), (6, 297)])
def test_so_many_epochs_settle_them_and_one_less_does_not(epochs: int, steps: int) -> None:
    settings = {"model.name": "toynet14"}
    wanted = epochs_to_settle(remainder(settings, steps), epochs)
    assert remainder(settings, steps * wanted // epochs) <= SETTLED
    assert remainder(settings, steps * (wanted - 1) // epochs) > SETTLED
