from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from toynet.kernels import preact as kernels
from toynet.kernels import winograd
from toynet.kernels.build import obstacle
from toynet.models.blocks import ResidualBlock, basic_convs, projection
from toynet.models.chain import use_compiled

WHY_NOT = obstacle(torch.float32)
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=f"no compiled kernels: {WHY_NOT}")

BF16, FP32 = torch.bfloat16, torch.float32


@pytest.fixture(autouse=True)
def taken(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Winograd's filtering pays here; what is taken as a whole."""
    calls: list[object] = []
    block = kernels.block
    monkeypatch.setattr(winograd, "pays", lambda _: True)
    monkeypatch.setattr(kernels, "block", lambda *parts: calls.append(parts) or block(*parts))
    return calls


def build(channels: int, width: int, stride: int, **options) -> ResidualBlock:
    torch.manual_seed(0)
    shortcut = None
    if stride > 1 or channels != width:
        shortcut = projection(options.pop("shortcut", "conv"), channels, width, stride)
    block = ResidualBlock(basic_convs(channels, width, stride), shortcut, order="pre", **options)
    for norm in block.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.weight, 1, 0.2)
            nn.init.normal_(norm.bias, 0, 0.2)
    use_compiled(block, True)
    return block.to(memory_format=torch.channels_last)


def draw(channels: int, numbers: torch.dtype = FP32, *, images: int = 8, size: int = 16) -> Tensor:
    maps = torch.randn(images, channels, size, size).to(numbers)
    return maps.contiguous(memory_format=torch.channels_last)


def learn(block: ResidualBlock, maps: Tensor) -> list[Tensor]:
    """What comes out, all gradients from a sum that weighs every place, and the moving averages."""
    maps = maps.clone().requires_grad_()
    with torch.autocast("cpu", dtype=BF16, enabled=maps.dtype == BF16):
        out = block(maps)
    weights = torch.linspace(-1, 1, out.numel()).view(out.shape)
    (out.float() * weights).sum().backward()
    found = [out, maps.grad, *(weight.grad for weight in block.parameters()), *block.buffers()]
    return [one.detach().double() for one in found]


@pytest.mark.parametrize("numbers", [BF16, FP32], ids=str)
@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU])
@pytest.mark.parametrize(("channels", "width", "stride"), [(32, 32, 1), (16, 48, 2), (16, 32, 1)])
def test_as_a_whole_it_is_what_it_is_layer_by_layer(
    channels, width, stride, activation, numbers, taken, monkeypatch
):
    block, maps = build(channels, width, stride), draw(channels, numbers)
    block.entry.relu1, block.branch.relu2 = activation(), activation()
    whole = learn(deepcopy(block), maps)
    assert len(taken) == 1
    monkeypatch.setattr("toynet.models.preact.whole", lambda *_: None)
    layers = learn(deepcopy(block), maps)
    if block.shortcut is None:
        assert all(torch.equal(*pair) for pair in zip(whole, layers, strict=True))
    # torch rounds a bf16 kernel's gradient to bf16, ours stays fp32.
    off = 2e-2 if numbers == BF16 else 1e-5
    for one, other in zip(whole, layers, strict=True):
        assert (one - other).norm() <= off * other.norm()


def test_it_is_torchs_own_in_double_precision(taken):
    block, maps = build(16, 32, 2), draw(16)
    block.entry.relu1, block.branch.relu2 = nn.GELU(), nn.GELU()
    exact = learn(deepcopy(block).double(), maps.double())
    assert not taken
    for found, expected in zip(learn(block, maps), exact, strict=True):
        assert (found - expected).norm() < 1e-5 * expected.norm()
    assert taken


def test_a_graph_that_is_kept_gives_the_same_gradients_again(taken):
    block, maps = build(16, 32, 2), draw(16).requires_grad_()
    out = block(maps)
    wanted = [maps, *block.parameters()]
    first = torch.autograd.grad(out.sum(), wanted, retain_graph=True)
    second = torch.autograd.grad(out.sum(), wanted)
    assert taken
    assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))


class OwnNorm(nn.BatchNorm2d):
    """Another kind of batch norm, as that of several ranks."""


def frozen(block: ResidualBlock) -> None:
    block.branch.norm2.eval().requires_grad_(False)


def own_norm(block: ResidualBlock) -> None:
    block.entry.norm1 = OwnNorm(16)


@pytest.mark.parametrize(
    ("change", "options"),
    [
        (lambda block: block.eval(), {}),
        (lambda block: use_compiled(block, False), {}),
        (frozen, {}),
        (own_norm, {}),
        (lambda block: setattr(block.branch, "relu2", nn.SiLU()), {}),
        (lambda block: None, {"conv_dropout": 0.3}),
        (lambda block: None, {"shortcut": "pool"}),
        (lambda block: None, {"shortcut": "conv_bn"}),
    ],
    ids=["evaluation", "uncompiled", "frozen", "norm", "activation", "dropout", "pool", "conv_bn"],
)
def test_others_go_layer_by_layer(change, options, taken):
    block = build(16, 32, 2, **options)
    change(block)
    assert block(draw(16)).shape == (8, 32, 8, 8)
    assert not taken


def test_so_do_other_maps(taken):
    block = build(16, 32, 2)
    block(draw(16, images=1, size=4))
    block(draw(16).contiguous())
    with torch.autocast("cpu", dtype=BF16):
        block(draw(16))
    block.double()(draw(16).double())
    assert not taken
    block.float()(draw(16))
    assert taken
