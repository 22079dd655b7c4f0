import math

import pytest
import torch
from scipy import stats
from torch import nn

from toynet.models.catalog import build
from toynet.models.initialise import initialise
from toynet.models.spec import ModelSpec

WIDTHS = (32, 64, 128, 256)


def make(seed=0, classes=10, **fields):
    return build(
        ModelSpec(**{"widths": WIDTHS} | fields), classes=classes, image_shape=(32, 32, 3), seed=seed
    )


def test_convolutions_are_glorot_uniform():
    model = make()
    for path, inputs, outputs, area in [
        ("stack3.block1.branch.conv1", 64, 128, 9),
        ("stack4.block1.shortcut.conv", 128, 256, 1),
    ]:
        weight = model.get_submodule(path).weight.detach().flatten().double().numpy()
        limit = math.sqrt(6 / ((inputs + outputs) * area))
        assert stats.kstest(weight, stats.uniform(-limit, 2 * limit).cdf).pvalue > 1e-3


def test_dense_layer_is_he_normal_cut_at_two_deviations():
    weight = make(classes=400).head.dense.weight.detach().flatten().double().numpy()
    std = math.sqrt(2 / 256)
    assert weight.std() == pytest.approx(std, rel=0.01)
    raw = std / stats.truncnorm(-2, 2).std()
    assert stats.kstest(weight, stats.truncnorm(-2, 2, scale=raw).cdf).pvalue > 1e-3


def test_biases_scales_and_statistics():
    model = make(name="pure_resnet18")
    assert not model.stem.conv.bias.any()
    assert not model.head.dense.bias.any()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert (layer.weight == 1).all()
            assert (layer.running_var == 1).all()
            assert not layer.bias.any()
            assert not layer.running_mean.any()
            assert layer.num_batches_tracked == 0
            assert (layer.eps, layer.momentum) == (1.001e-5, 0.01)


def test_a_seed_gives_the_same_weights_and_another_gives_others():
    first, again, other = make(seed=1).state_dict(), make(seed=1).state_dict(), make(seed=2).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["stem.conv.weight"], other["stem.conv.weight"])
    assert not torch.equal(first["head.dense.weight"], other["head.dense.weight"])


@pytest.mark.parametrize(
    "knob", [{"dropout": 0.6}, {"conv_dropout": 0.15}, {"name": "toynet18"}, {"shortcut": "pool"}]
)
def test_a_knob_leaves_the_other_layers_first_weights_alone(knob):
    before, after = make().state_dict(), make(**knob).state_dict()
    shared = before.keys() & after.keys()
    assert len(shared) > 0.8 * len(before)
    assert all(torch.equal(before[name], after[name]) for name in shared)


def test_layers_of_equal_shape_get_different_weights():
    state = make(name="toynet18").state_dict()
    first = state["stack1.block1.branch.conv1.weight"]
    assert not torch.equal(first, state["stack1.block1.branch.conv2.weight"])
    assert not torch.equal(first, state["stack1.block2.branch.conv1.weight"])


def test_building_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    make(dropout=0.5)
    assert torch.equal(before, torch.get_rng_state())


def test_an_unknown_layer_with_weights_is_refused():
    with pytest.raises(TypeError, match=r"no first weights known for 0 \(PReLU\)"):
        initialise(nn.Sequential(nn.PReLU()), seed=0)
