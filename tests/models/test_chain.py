from collections import OrderedDict
from copy import deepcopy

import pytest
import torch
from torch import nn

from toynet.kernels import maps as kernels
from toynet.kernels import winograd
from toynet.kernels.build import obstacle
from toynet.models import catalog
from toynet.models.chain import Chain, use_compiled
from toynet.models.same import SameConv
from toynet.models.spec import ModelSpec

needs_kernels = pytest.mark.skipif(
    obstacle(torch.float32) is not None, reason=f"no compiled kernels: {obstacle(torch.float32)}"
)

NETS = [
    ModelSpec(name="toynet14", widths=(8, 8, 16, 16)),
    ModelSpec(name="toynet14", widths=(8, 8, 16, 16), order="post", shortcut="conv_bn"),
    ModelSpec(name="toynet12", widths=(8, 8, 16, 16), order="relu_bn", shortcut="pool"),
    ModelSpec(name="pure_resnet50", widths=(4, 8, 8, 8)),
    ModelSpec(name="speednet", widths=(8, 16, 16)),
]


def build(spec: ModelSpec) -> nn.Module:
    return catalog.build(catalog.resolve(spec), classes=10, image_shape=(32, 32, 3), seed=0)


def learn(model: nn.Module, images: torch.Tensor, *, bf16: bool) -> torch.Tensor:
    """Logits, gradients and moving averages after a training pass, then in evaluation, in one piece."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        logits = model(images)
    nn.functional.cross_entropy(logits.float(), torch.arange(len(images)) % 10).backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    averages = [b for b in model.buffers() if b.is_floating_point()]
    model.eval()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        answers = model(images)
    return torch.cat([one.detach().float().flatten() for one in (logits, *gradients, *averages, answers)])


@needs_kernels
@pytest.mark.parametrize("spec", NETS, ids=lambda spec: f"{spec.name} {spec.order}")
def test_a_network_is_no_further_from_fp32_than_torchs_bf16(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    images = torch.randn(64, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    exact, plain = learn(build(spec), images, bf16=False), learn(build(spec), images, bf16=True)
    calls = []
    monkeypatch.setattr(winograd, "pays", lambda numbers: False)
    monkeypatch.setattr(kernels, "norm_act_beside", counting(kernels.norm_act_beside, calls))
    model = build(spec)
    use_compiled(model, True)
    compiled = learn(model, images, bf16=True)
    assert (compiled - exact).norm() < 1.1 * (plain - exact).norm()
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert len(calls) == 2 * norms, "every batch norm is compiled, in training and in evaluation"


@needs_kernels
@pytest.mark.parametrize(
    ("name", "widths"),
    [("toynet14", (32, 32, 32, 64)), ("pure_resnet18", (32,) * 4), ("speednet", (32, 32, 64))],
)
def test_by_winograds_filtering_it_is_half_as_far_again(name, widths, monkeypatch: pytest.MonkeyPatch):
    calls = []
    monkeypatch.setattr(winograd, "pays", lambda numbers: True)
    monkeypatch.setattr(winograd, "convolve", counting(winograd.convolve, calls))
    torch.manual_seed(0)
    images = torch.randn(64, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    spec = ModelSpec(name=name, widths=widths)
    exact, plain = learn(build(spec), images, bf16=False), learn(build(spec), images, bf16=True)
    model = build(spec)
    use_compiled(model, True)
    assert (learn(model, images, bf16=True) - exact).norm() < 1.5 * (plain - exact).norm()
    assert len(calls) >= 10, "in training and in evaluation"


@needs_kernels
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    ("name", "widths"),
    [("toynet14", (32, 32, 32, 64)), ("speednet", (32, 32, 64))],
    ids=lambda value: str(value),
)
def test_in_fp32_it_is_torchs_but_for_rounding(name, widths, fast: bool, monkeypatch: pytest.MonkeyPatch):
    calls = []
    monkeypatch.setattr(winograd, "pays", lambda numbers: fast)
    monkeypatch.setattr(winograd, "convolve", counting(winograd.convolve, calls))
    torch.manual_seed(0)
    images = torch.randn(64, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    spec = ModelSpec(name=name, widths=widths)
    plain, model = learn(build(spec), images, bf16=False), build(spec)
    use_compiled(model, True)
    compiled = learn(model, images, bf16=False)
    logits = slice(10 * len(images))
    assert (compiled - plain)[logits].norm() <= 1e-5 * plain[logits].norm()
    # Where rounding takes a ReLU's input over zero, its gradient is another.
    assert (compiled - plain).norm() < 2e-3 * plain.norm()
    assert not torch.equal(compiled, plain)
    assert (len(calls) >= 10) is fast


def counting(function, calls):
    def wrapped(*arguments):
        calls.append(function)
        return function(*arguments)

    return wrapped


@needs_kernels
def test_a_frozen_part_still_lets_gradients_through():
    layers = Chain(OrderedDict(norm=nn.BatchNorm2d(8), relu=nn.ReLU())).eval().requires_grad_(False)
    use_compiled(layers, True)
    maps = torch.randn(2, 8, 4, 4).bfloat16().contiguous(memory_format=torch.channels_last).requires_grad_()
    expected = deepcopy(layers)
    expected.compiled = False
    layers(maps).sum().backward()
    found, maps.grad = maps.grad, None
    expected(maps).sum().backward()
    assert torch.equal(found, maps.grad)


@needs_kernels
def test_what_is_no_norm_passes_as_in_a_sequential(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kernels, "norm_act", None)
    monkeypatch.setattr(kernels, "max_pool", None)
    layers = Chain(nn.ReLU(), nn.GELU(approximate="tanh"), nn.MaxPool2d(3), nn.AvgPool2d(2))
    use_compiled(layers, True)
    maps = torch.randn(2, 8, 12, 12).bfloat16().contiguous(memory_format=torch.channels_last)
    assert torch.equal(layers(maps), nn.Sequential(*layers)(maps))
    out, carried = layers.beside(maps)
    assert carried is maps
    assert torch.equal(out, layers(maps))


@needs_kernels
@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("last", ["conv", "norm", "nothing"])
def test_an_addend_is_added_to_the_result(last: str, compiled: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(winograd, "pays", lambda numbers: True)
    torch.manual_seed(0)
    layers = {"conv": [SameConv(16, 16)], "norm": [SameConv(16, 16), nn.BatchNorm2d(16)], "nothing": []}
    chain = Chain(*layers[last])
    use_compiled(chain, compiled)
    maps, addend = torch.randn(2, 16, 8, 8, 16).bfloat16().permute(0, 1, 4, 2, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plain, total = chain(maps), chain(maps, addend)
    torch.testing.assert_close(total, plain + addend, rtol=2e-2, atol=2e-2)
    assert not torch.equal(total, plain)


@needs_kernels
def test_what_watches_the_last_convolution_in_fp32_does_not_see_the_sum():
    chain, (maps, addend) = Chain(SameConv(16, 16)), torch.randn(2, 16, 16, 8, 8)
    use_compiled(chain, True)
    seen = []
    chain[0].register_forward_hook(lambda _layer, _inputs, output: seen.append(output))
    assert torch.equal(chain(maps, addend), seen[0] + addend)


def test_an_empty_chain_is_the_identity():
    maps = torch.randn(1, 2, 3, 3)
    assert Chain()(maps) is maps
    assert [part is maps for part in Chain().beside(maps)] == [True, True]


def test_the_switch_reaches_every_part():
    model = build(NETS[0])
    parts = [part for part in model.modules() if isinstance(part, Chain | SameConv)]
    assert sum(isinstance(part, SameConv) for part in parts) == 16
    for wanted in (True, False):
        use_compiled(model, wanted)
        assert all(part.compiled is wanted for part in parts)


def test_without_kernels_the_switch_has_no_effect(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kernels, "obstacle", lambda numbers: "no compiler")
    torch.manual_seed(0)
    images = torch.randn(4, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    model = build(NETS[0])
    use_compiled(model, True)
    assert torch.equal(learn(model, images, bf16=False), learn(build(NETS[0]), images, bf16=False))
