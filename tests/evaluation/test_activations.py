import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from toynet.evaluation.activations import activation_summary
from toynet.models.catalog import build
from toynet.models.chain import Chain, use_compiled
from toynet.models.spec import ModelSpec


class Block(nn.Module):
    """Conv, BN, then ReLU: functional, in place, or none for a linear end."""

    def __init__(self, relu: str) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True) if relu == "inplace" else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn(self.conv(x))
        x = self.relu(x) if self.relu else F.relu(x)
        return x.mean((2, 3))


def batch() -> torch.Tensor:
    return torch.randn(6, 3, 5, 5, generator=torch.Generator().manual_seed(0))


def kill(block: Block, channels: int) -> None:
    with torch.no_grad():
        block.bn.bias[:channels] = -100.0


@pytest.mark.parametrize("relu", ["functional", "inplace"])
def test_dead_channels_are_seen_however_relu_is_called(relu: str) -> None:
    torch.manual_seed(0)
    block = Block(relu)
    kill(block, 3)
    layers = {layer.name: layer for layer in activation_summary(block, batch())}
    assert list(layers) == ["conv", "bn", "relu"][: 3 if relu == "inplace" else 2]
    assert layers["bn"].dead_fraction == 0.75
    assert layers["conv"].dead_fraction == 0.0
    if relu == "inplace":
        assert layers["relu"].dead_fraction == 0.75
        assert (layers["relu"].kind, layers["bn"].kind) == ("ReLU", "BatchNorm2d")


def test_a_channel_alive_for_one_image_is_not_dead() -> None:
    relu = nn.Sequential(nn.ReLU())
    x = torch.full((8, 2, 3, 3), -1.0)
    x[5, 1, 2, 2] = 0.5
    (layer,) = activation_summary(relu, x)
    assert layer.dead_fraction == 0.5


def test_size_is_measured_before_an_in_place_relu_overwrites_it() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True))
    x = batch()
    conv, relu = activation_summary(model, x)
    expected = model[0](x).detach()
    assert conv.rms == pytest.approx(float(expected.square().mean().sqrt()), rel=1e-5)
    assert conv.max_abs == pytest.approx(float(expected.abs().max()), rel=1e-6)
    assert relu.max_abs == pytest.approx(float(expected.clamp(min=0).max()), rel=1e-6)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_named(value: float) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1))
    with torch.no_grad():
        model[0].bias[2] = value
    (layer,) = activation_summary(model, batch())
    assert not layer.finite
    assert not math.isfinite(layer.max_abs)
    (healthy,) = activation_summary(nn.Sequential(nn.Conv2d(3, 4, 1)), batch())
    assert healthy.finite


def test_a_module_called_twice_has_two_records_in_order() -> None:
    relu = nn.ReLU()
    model = nn.Sequential(relu, nn.Conv2d(3, 3, 1), relu)
    assert [layer.name for layer in activation_summary(model, batch())] == ["0", "1", "0"]


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_left_as_it_was(fails: bool) -> None:
    block = Block("functional").train()
    block.bn.eval()
    state = {name: value.clone() for name, value in block.state_dict().items()}
    random = torch.get_rng_state()
    if fails:
        with pytest.raises(RuntimeError):
            activation_summary(block, torch.zeros(2, 5, 4, 4))
    else:
        activation_summary(block, batch())
    assert block.training
    assert block.conv.training
    assert not block.bn.training
    assert not any(module._forward_hooks for module in block.modules())
    assert all(torch.equal(value, state[name]) for name, value in block.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


def test_compiled_functions_hide_no_layer() -> None:
    model = build(
        ModelSpec(name="toynet14", widths=(16, 16, 16, 16)), classes=10, image_shape=(32, 32, 3), seed=0
    )
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images = images.contiguous(memory_format=torch.channels_last)
    plain = activation_summary(model, images)
    assert {"BatchNorm2d", "ReLU"} < {layer.kind for layer in plain}
    use_compiled(model, True)
    assert activation_summary(model, images) == plain
    assert all(part.compiled for part in model.modules() if isinstance(part, Chain))
