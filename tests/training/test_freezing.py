import pytest
import torch

from toynet.core.errors import UsageError
from toynet.models import catalog
from toynet.models.spec import ModelSpec
from toynet.training import freezing

PARTS = {"whiten": 0.25, "group1": 0.5}


@pytest.fixture
def model():
    spec = ModelSpec(name="speednet", widths=(4, 6, 8))
    return catalog.build(spec, classes=3, image_shape=(16, 16, 3), seed=0).train()


def step(model):
    for parameter in model.parameters():
        parameter.grad = None
    model(torch.randn(4, 3, 16, 16)).square().sum().backward()
    return {name for name, parameter in model.named_parameters() if parameter.grad is not None}


def test_parts_learn_until_their_share_and_not_after(model):
    freezing.freeze(model, PARTS, 0.24)
    everything = step(model)
    assert any(name.startswith("whiten") for name in everything)
    freezing.freeze(model, PARTS, 0.25)
    assert {name.split(".")[0] for name in step(model)} == {"group1", "group2", "group3", "head"}
    freezing.freeze(model, PARTS, 0.5)
    before = model.group1.norm1.running_mean.clone(), model.group2.norm1.running_mean.clone()
    assert {name.split(".")[0] for name in step(model)} == {"group2", "group3", "head"}
    assert torch.equal(model.group1.norm1.running_mean, before[0])
    assert not torch.equal(model.group2.norm1.running_mean, before[1])


def test_frozen_parts_stay_frozen_when_an_epoch_begins(model):
    freezing.freeze(model, PARTS, 0.9)
    model.train()
    freezing.freeze(model, PARTS, 0.9)
    assert not model.group1.norm1.training
    assert model.group2.norm1.training


def test_unknown_parts_are_refused_by_name(model):
    freezing.check(model, PARTS)
    with pytest.raises(UsageError, match=r"no part 'grop1'; did you mean group1"):
        freezing.check(model, {"grop1": 0.5})
