import pytest
import torch
from torch import nn
from torch.nn import functional as F

from toynet.models.blocks import PooledShortcut, ResidualBlock, basic_convs
from toynet.models.residual import Flatten
from toynet.models.same import SameConv


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 9), (9, 8), (9, 9)])
def test_halving_convolution_looks_at_the_pixels_that_keras_looks_at(height, width):
    layer = SameConv(1, 1, stride=2)
    nn.init.ones_(layer.weight)
    for row in range(height):
        for column in range(width):
            image = torch.zeros(1, 1, height, width)
            image[0, 0, row, column] = 1
            # Keras' rule: of the padding that is needed in all, the smaller half goes first.
            tops = [2 * i - (1 if height % 2 else 0) for i in range((height + 1) // 2)]
            lefts = [2 * j - (1 if width % 2 else 0) for j in range((width + 1) // 2)]
            seen = [[float(t <= row < t + 3 and s <= column < s + 3) for s in lefts] for t in tops]
            assert layer(image)[0, 0].tolist() == seen


def test_pooled_shortcut_averages_and_adds_zeros():
    maps = torch.arange(2 * 2 * 5 * 5, dtype=torch.float32).reshape(2, 2, 5, 5)
    out = PooledShortcut(2, 3, 2)(maps)
    assert out.shape == (2, 3, 3, 3)
    assert out[0, 0, 0, 0] == maps[0, 0, :2, :2].mean()
    assert out[1, 1, 2, 2] == maps[1, 1, 4, 4], "a cut-off window averages the pixels it has"
    assert not out[:, 2].any()
    assert torch.equal(PooledShortcut(2, 4, 1)(maps)[:, :2], maps)


def test_flatten_is_in_row_column_channel_order_and_copies_nothing():
    maps = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    flat = Flatten()(maps)
    assert flat[1, (2 * 5 + 3) * 3 + 1] == maps[1, 1, 2, 3]
    assert flat.data_ptr() == maps.data_ptr()


def test_conv_dropout_sits_right_before_the_last_convolution_and_drops_single_elements():
    block = ResidualBlock(basic_convs(4, 4, 1), None, order="pre", conv_dropout=0.5).train()
    kinds = [type(layer).__name__ for layer in (*block.entry, *block.branch)]
    assert kinds == ["BatchNorm2d", "ReLU", "SameConv", "BatchNorm2d", "ReLU", "Dropout", "SameConv"]
    dropped = block.branch.dropout2(torch.ones(1, 4, 8, 8))
    kept = (dropped != 0).float().mean(dim=(2, 3))
    assert ((kept > 0.1) & (kept < 0.9)).all()


def test_identity_carries_the_raw_input_and_projection_the_activated_one():
    torch.manual_seed(0)
    maps = torch.randn(2, 4, 6, 6)
    for shortcut in (None, nn.Conv2d(4, 4, 1, bias=False)):
        block = ResidualBlock(basic_convs(4, 4, 1), shortcut, order="pre").eval()
        nn.init.zeros_(block.branch.conv2.weight)
        active = F.relu(maps / (1 + 1.001e-5) ** 0.5)
        expected = maps if shortcut is None else shortcut(active)
        torch.testing.assert_close(block(maps), expected)


@pytest.mark.parametrize("order", ["pre", "post", "relu_bn"])
@pytest.mark.parametrize("conv_dropout", [0.0, 0.3])
def test_in_place_relu_changes_neither_values_nor_gradients(order, conv_dropout):
    torch.manual_seed(0)
    block = ResidualBlock(basic_convs(4, 4, 1), None, order=order, conv_dropout=conv_dropout)
    results = []
    for in_place in (True, False):
        for layer in block.modules():
            if isinstance(layer, nn.ReLU):
                layer.inplace = in_place
        torch.manual_seed(1)
        maps = torch.randn(3, 4, 6, 6, requires_grad=True)
        before = maps.detach().clone()
        out = block(maps)
        gradients = torch.autograd.grad(out.square().sum(), [maps, *block.parameters()])
        assert torch.equal(maps.detach(), before)
        results.append([out, *gradients])
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))
