import pytest
import torch
from torch.nn import functional as F

from toynet.models import catalog, products
from toynet.models.products import SameConv, use_products
from toynet.models.spec import ModelSpec

SHAPES = [
    # channels in, out, height, width, stride
    (16, 32, 4, 4, 1),
    (16, 8, 3, 5, 1),
    (8, 8, 1, 1, 1),
    (16, 32, 8, 8, 2),
    (16, 32, 7, 5, 2),
    (8, 8, 2, 2, 2),
]


def both_ways(layer, images, gradient, product):
    """Output and gradients by input and weight."""
    layer.product = product
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = layer(images)
    return out.detach(), *torch.autograd.grad(out, (images, layer.weight), gradient)


@pytest.mark.parametrize(("channels", "width_out", "height", "width", "stride"), SHAPES)
def test_products_are_the_convolution_and_its_gradients(channels, width_out, height, width, stride):
    torch.manual_seed(0)
    images = torch.randn(6, channels, height, width).contiguous(memory_format=torch.channels_last)
    images.requires_grad_()
    layer = SameConv(channels, width_out, stride)
    exact = layer(images)
    gradient = torch.randn_like(exact)
    references = exact.detach(), *torch.autograd.grad(exact, (images, layer.weight), gradient)
    measured = both_ways(layer, images, gradient.bfloat16(), True)
    for name, found, reference in zip(("output", "input", "weight"), measured, references, strict=True):
        error = (found.float() - reference).norm() / reference.norm()
        assert 1e-5 < error < 8e-3, f"{name}: bf16 rounding, no more and no less"


def test_products_round_as_the_library_does():
    torch.manual_seed(0)
    images = torch.randn(8, 32, 4, 4, requires_grad=True)
    layer = SameConv(32, 32)
    gradient = torch.randn(8, 32, 4, 4).bfloat16()
    for ours, library in zip(
        both_ways(layer, images, gradient, True), both_ways(layer, images, gradient, False), strict=True
    ):
        torch.testing.assert_close(
            ours.float(), library.float(), rtol=8e-3, atol=2e-3 * float(library.abs().max())
        )


def test_only_small_maps_in_bf16_training_are_multiplied(monkeypatch):
    taken = []
    monkeypatch.setattr(
        products, "_product", lambda maps, *rest: taken.append(maps.shape) or F.conv2d(maps, rest[0])
    )
    layer = SameConv(4, 4)
    layer.product = True
    small, large = torch.randn(2, 4, 4, 4), torch.randn(2, 4, 5, 4)
    layer(small)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer(large)
        layer.eval()
        layer(small)
        assert not taken
        layer.train()
        layer(small)
    assert taken == [small.shape]


def test_the_switch_reaches_every_block_of_a_model():
    model = catalog.build(
        ModelSpec(name="toynet14", widths=(4, 4, 8, 8)), classes=10, image_shape=(32, 32, 3), seed=0
    )
    layers = [layer for layer in model.modules() if isinstance(layer, SameConv)]
    assert len(layers) == 13
    for wanted in (True, False):
        use_products(model, wanted)
        assert all(layer.product is wanted for layer in layers)


def test_frozen_input_or_weight_needs_no_gradient():
    layer = SameConv(8, 8)
    layer.product = True
    images = torch.randn(2, 8, 4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer(images).sum().backward()
    assert images.grad is None
    assert layer.weight.grad.shape == layer.weight.shape
    layer.weight.requires_grad_(False)
    images.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer(images).sum().backward()
    assert images.grad.shape == images.shape
