import pytest
import torch

from toynet.core.errors import UsageError
from toynet.models import catalog, speednet, speedplan
from toynet.models.cost import cost
from toynet.models.spec import ModelSpec


def make(side=32, channels=3, **fields):
    spec = ModelSpec(name="speednet", **fields)
    return catalog.build(spec, classes=10, image_shape=(side, side, channels), seed=0)


@pytest.mark.parametrize("side", [9, 24, 31, 32])
def test_the_plan_is_what_the_network_does(side):
    model = make(side, widths=(8, 16, 12))
    groups = speedplan.plan(ModelSpec(name="speednet", widths=(8, 16, 12)), (side, side, 3))
    maps = model.whiten(torch.randn(2, 3, side, side))
    assert maps.shape == (2, 24, side - 1, side - 1)
    for part, group in zip((model.group1, model.group2, model.group3), groups, strict=True):
        maps = part(maps)
        assert maps.shape == (2, group.width, *group.size)
    assert model.head(maps).shape == (2, 10)


def test_multiply_accumulates_add_up():
    total = cost(make(), (32, 32, 3))
    # 24 filters of 12 pixels at 31x31; 3x3 kernels at 31, 15, 15, 7, 7 and 3; the dense layer.
    assert (
        total.macs
        == 12 * 24 * 961
        + 9 * (24 * 64 * 961 + 64 * 64 * 225 + 64 * 256 * 225)
        + 9 * 256 * 256 * (49 + 49 + 9)
        + 2560
    )
    assert total.parameters - total.trainable == 12 * 24 + 3 * 2 * (64 + 256 + 256)


def test_whitened_patches_are_uncorrelated_with_unit_variance():
    torch.manual_seed(0)
    smooth = torch.nn.functional.avg_pool2d(torch.randn(500, 3, 20, 20), 5, stride=1)
    mixed = torch.einsum("nchw,dc->ndhw", smooth, torch.tensor([[2.0, 1, 0], [1, 1, 0.5], [0, 0.3, 3]]))
    images = 50 * mixed
    layer = make().whiten.conv
    with torch.no_grad():
        layer.bias.zero_()
    speednet.whiten(torch.nn.Sequential(layer), images)
    with torch.no_grad():
        out = layer(images)
    rows = out.permute(0, 2, 3, 1).reshape(-1, 24)
    half = rows[:, :12]
    assert torch.equal(rows[:, 12:], -half)
    covariance = half.T @ half / len(half)
    torch.testing.assert_close(covariance, torch.eye(12), rtol=0, atol=0.03)


def test_whitening_is_a_function_of_the_images_and_never_learns():
    images = torch.randn(50, 3, 12, 12)
    first, second = make(), make()
    speednet.whiten(first, images)
    speednet.whiten(second, images.clone())
    assert torch.equal(first.whiten.conv.weight, second.whiten.conv.weight)
    before = first.whiten.conv.weight.clone()
    first.features(torch.randn(4, 3, 32, 32)).square().sum().backward()
    assert first.whiten.conv.weight.grad is None
    assert first.whiten.conv.bias.grad.abs().sum() > 0
    assert torch.equal(first.whiten.conv.weight, before)


def test_convolutions_start_by_passing_channels_on_and_the_head_prefers_no_class():
    model = make(widths=(32, 16, 24))
    images = torch.randn(2, 24, 9, 9)
    assert torch.equal(model.group1.conv1(images)[:, :24], images), "32 filters pass 24 channels"
    assert model.group1.conv1.weight[24:].std() > 0.01
    maps = torch.randn(2, 32, 9, 9)
    assert torch.equal(model.group2.conv1(maps), maps[:, :16]), "16 filters pass what they can"
    assert not model.head.dense.weight.any()
    assert not model(torch.randn(2, 3, 32, 32)).any()


def test_features_enter_the_head():
    model = make(widths=(8, 16, 12)).eval()
    images = torch.randn(3, 3, 32, 32)
    assert torch.equal(model.head(model.features(images)), model(images))


def test_gray_images_have_fewer_directions():
    model = make(channels=1)
    assert model.whiten.conv.weight.shape == (8, 1, 2, 2)
    assert model(torch.randn(2, 1, 32, 32)).shape == (2, 10)


@pytest.mark.parametrize(
    ("fields", "side", "message"),
    [
        ({"order": "pre"}, 32, "model.order: speednet has none; leave it out"),
        ({"shortcut": "pool"}, 32, "model.shortcut: speednet has none; leave it out"),
        ({"conv_dropout": 0.1}, 32, "model.conv_dropout: speednet has none; leave it out"),
        ({"head": "flatten"}, 32, "model.head: speednet always ends in global max-pooling; leave it out"),
        ({"widths": (8, 8, 8, 8)}, 32, "model.widths needs 3 numbers, got 4"),
        ({}, 8, "images of 8x8 are too small for speednet; the shortest side must be 9 or more"),
    ],
)
def test_what_cannot_be_built_is_refused(fields, side, message):
    with pytest.raises(UsageError) as raised:
        make(side, **fields)
    assert str(raised.value) == message


def test_resolving_fills_in_the_widths_only():
    assert catalog.resolve(ModelSpec(name="speednet")).widths == (64, 256, 256)
    assert catalog.resolve(ModelSpec(name="speednet")).order is None
