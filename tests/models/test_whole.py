from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from toynet.kernels import blocks as kernels
from toynet.kernels import matrix, winograd
from toynet.kernels.build import obstacle
from toynet.models.blocks import ResidualBlock, basic_convs, projection
from toynet.models.chain import use_compiled
from toynet.models.spec import Order, Shortcut

WHY_NOT = obstacle(torch.float32)
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=f"no compiled kernels: {WHY_NOT}")

BF16, FP32 = torch.bfloat16, torch.float32


@pytest.fixture(autouse=True)
def taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Winograd's filtering pays here, and there is no matrix unit; how blocks are taken as a whole."""
    calls: list[str] = []
    monkeypatch.setattr(winograd, "pays", lambda _: True)
    monkeypatch.setattr(matrix, "is_there", lambda: False)
    for name in ("preact", "postact"):
        monkeypatch.setattr(kernels, name, noting(getattr(kernels, name), calls))
    return calls


def noting(function: Callable[..., Tensor], calls: list[str]) -> Callable[..., Tensor]:
    def wrapped(*parts: object) -> Tensor:
        calls.append(function.__name__)
        return function(*parts)

    return wrapped


def build(
    channels: int, width: int, stride: int, *, order: Order = "pre", shortcut: Shortcut = "conv", **options
) -> ResidualBlock:
    torch.manual_seed(0)
    changes = stride > 1 or channels != width
    past = projection(shortcut, channels, width, stride) if changes else None
    block = ResidualBlock(basic_convs(channels, width, stride), past, order=order, **options)
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


@pytest.mark.parametrize(("numbers", "unit"), [(BF16, False), (BF16, True), (FP32, False)], ids=str)
@pytest.mark.parametrize("activation", [nn.ReLU, nn.GELU])
@pytest.mark.parametrize("shortcut", ["conv", "conv_bn"])
@pytest.mark.parametrize("order", ["pre", "post"])
@pytest.mark.parametrize(
    ("channels", "width", "stride"), [(32, 32, 1), (16, 48, 2), (16, 32, 1), (32, 64, 2)]
)
def test_as_a_whole_it_is_what_it_is_layer_by_layer(
    channels, width, stride, order, shortcut, activation, numbers, unit, taken, monkeypatch
):
    monkeypatch.setattr(matrix, "is_there", lambda: unit)
    block, maps = build(channels, width, stride, order=order, shortcut=shortcut), draw(channels, numbers)
    with_activation(block, activation)
    whole = learn(deepcopy(block), maps)
    assert taken == [f"{order}act"]
    monkeypatch.setattr("toynet.models.blocks.whole", lambda *_: None)
    layers = learn(deepcopy(block), maps)
    assert len(taken) == 1
    if (order, block.shortcut) == ("pre", None):
        assert all(torch.equal(*pair) for pair in zip(whole, layers, strict=True))
    if numbers == FP32:
        assert all(distance(*pair) < 1e-5 for pair in zip(whole, layers, strict=True))
    else:
        exact = learn(deepcopy(block).double(), maps.double())
        ours, theirs = (sum(map(distance, found, exact)) for found in (whole, layers))
        assert ours < 1.1 * theirs


def distance(found: Tensor, expected: Tensor) -> float:
    """Relative to the size of what is expected."""
    return float((found - expected).norm() / expected.norm())


def with_activation(block: ResidualBlock, activation: type[nn.Module]) -> None:
    """In place of the first ReLU, and of the second where a block can be taken as a whole with it."""
    if block.entry:
        block.entry.relu1, block.branch.relu2 = activation(), activation()
    else:
        block.branch.relu1 = activation()


@pytest.mark.parametrize("shortcut", ["conv", "conv_bn"])
@pytest.mark.parametrize("order", ["pre", "post"])
def test_it_is_torchs_own_in_double_precision(order, shortcut, taken):
    block, maps = build(16, 32, 2, order=order, shortcut=shortcut), draw(16)
    with_activation(block, nn.GELU)
    exact = learn(deepcopy(block).double(), maps.double())
    assert not taken
    assert all(distance(*pair) < 1e-5 for pair in zip(learn(block, maps), exact, strict=True))
    assert taken


@pytest.mark.parametrize("order", ["pre", "post"])
def test_a_graph_that_is_kept_gives_the_same_gradients_again(order, taken):
    block, maps = build(16, 32, 2, order=order, shortcut="conv_bn"), draw(16).requires_grad_()
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


OTHERS = {
    "evaluation": (lambda block: block.eval(), {}),
    "uncompiled": (lambda block: use_compiled(block, False), {}),
    "frozen": (frozen, {}),
    "norm": (own_norm, {}),
    "activation": (lambda block: setattr(block.branch, "relu2", nn.SiLU()), {}),
    "exit": (lambda block: setattr(block.exit, "relu2", nn.GELU()), {"order": "post"}),
    "shortcut": (lambda block: block.shortcut.norm.eval(), {"shortcut": "conv_bn"}),
    "dropout": (lambda block: None, {"conv_dropout": 0.3}),
    "pool": (lambda block: None, {"shortcut": "pool"}),
    "relu_bn": (lambda block: None, {"order": "relu_bn"}),
}


@pytest.mark.parametrize(("change", "options"), OTHERS.values(), ids=OTHERS)
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


@pytest.mark.parametrize("order", ["pre", "post"])
@pytest.mark.parametrize("channels", [16, 48])
def test_maps_of_other_channels_are_refused_by_torch(order, channels, taken):
    with pytest.raises(RuntimeError, match="32"):
        build(32, 32, 1, order=order)(draw(channels))
    assert not taken
