"""Heat maps against Grad-CAM written out, and on images whose answer lies in a known place."""

import numpy as np
import pytest
import torch

from toynet.evaluation.explain import heat_maps
from toynet.models import catalog
from toynet.models.headed import HeadedNet
from toynet.models.spec import ModelSpec

SHAPE = (32, 32, 3)


def net(name: str = "toynet12", **settings: object) -> HeadedNet:
    spec = ModelSpec(name=name, widths=[4, 8, 8, 8] if name != "speednet" else None, **settings)
    model = catalog.build(spec, classes=5, image_shape=SHAPE, seed=1)
    assert isinstance(model, HeadedNet)
    return model


def noise(n: int = 3) -> torch.Tensor:
    return torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def by_hand(model: HeadedNet, images: torch.Tensor, labels: torch.Tensor) -> np.ndarray:
    """The paper's formulas 1 and 2: mean gradient a map, weighted sum, ReLU; then enlarged and scaled."""
    model.eval()
    maps = model.features(images).detach().requires_grad_()
    score = model.head(maps).gather(1, labels[:, None]).sum()
    (gradient,) = torch.autograd.grad(score, maps)
    coarse = (gradient.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).relu()
    fine = torch.nn.functional.interpolate(coarse, images.shape[2:], mode="bilinear")[:, 0]
    return (fine / fine.amax((1, 2), keepdim=True).clamp(min=1e-30)).detach().numpy()


@pytest.mark.parametrize("settings", [{}, {"order": "post"}, {"head": "flatten"}, {"dropout": 0.5}])
def test_it_is_grad_cam_of_the_last_maps(settings: dict[str, object]) -> None:
    model, images, labels = net(**settings), noise(), torch.tensor([0, 3, 4])
    found = heat_maps(model, images, labels)
    assert found.shape == (3, 32, 32)
    np.testing.assert_allclose(found, by_hand(model, images, labels), atol=1e-5)


def test_nothing_of_the_model_is_changed() -> None:
    model = net(dropout=0.5).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    heat_maps(model, noise(), torch.tensor([0, 1, 2]))
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_heat_lies_where_the_answer_is() -> None:
    """A network whose one live map marks red, under a head that reads that map."""
    model = net("toynet12").eval()
    place = torch.zeros(1, 3, 32, 32)
    place[:, 0, 2:10, 20:30] = 1.0
    maps = torch.nn.functional.avg_pool2d(place, 8)
    model.features = lambda images: maps.repeat(len(images), 3, 1, 1)[:, :8]
    with torch.no_grad():
        model.head.dense.weight.zero_()
        model.head.dense.weight[2, 0] = 1.0
    heat = heat_maps(model, noise(1), torch.tensor([2]))[0]
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert row < 12
    assert column > 18
    assert heat[20:].max() < 0.1


def test_nothing_speaks_for_a_class_that_every_place_denies() -> None:
    model = net().eval()
    with torch.no_grad():
        model.head.dense.weight.fill_(-1.0)
    assert heat_maps(model, noise(), torch.tensor([0, 1, 2])).max() == 0
