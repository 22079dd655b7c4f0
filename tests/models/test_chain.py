from collections import OrderedDict
from copy import deepcopy

import pytest
import torch
from torch import nn

from toynet.kernels import build as compiling
from toynet.kernels import maps as kernels
from toynet.kernels import matrix, winograd
from toynet.kernels.build import obstacle
from toynet.models import catalog
from toynet.models.chain import Chain, use_compiled
from toynet.models.same import SameConv
from toynet.models.spec import ModelSpec

WHY_NOT = obstacle(torch.float32)
needs_kernels = pytest.mark.skipif(WHY_NOT is not None, reason=f"no compiled kernels: {WHY_NOT}")

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
    monkeypatch.setattr(winograd, "pays", lambda _: False)
    monkeypatch.setattr(matrix, "is_there", lambda: False)
    monkeypatch.setattr(kernels, "_averages", counting(kernels._averages, calls))
    model = build(spec)
    use_compiled(model, True)
    compiled = learn(model, images, bf16=True)
    assert (compiled - exact).norm() < 1.1 * (plain - exact).norm()
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert len(calls) == 2 * norms, "every batch norm is compiled, in training and in evaluation"


@needs_kernels
@pytest.mark.parametrize(("way", "furthest"), [(winograd, 1.5), (matrix, 1.1)])
@pytest.mark.parametrize(
    ("name", "widths"),
    [("toynet14", (32, 32, 32, 64)), ("pure_resnet18", (32,) * 4), ("speednet", (32, 32, 64))],
)
def test_by_ways_of_our_own_it_is_as_far_as_they_are(name, widths, way, furthest, monkeypatch):
    """By filtering half as far again as by torch, in a matrix unit no further."""
    calls = []
    monkeypatch.setattr(winograd, "pays", lambda _: way is winograd)
    monkeypatch.setattr(matrix, "is_there", lambda: way is matrix)
    monkeypatch.setattr(way, "plan", counting(way.plan, calls))
    torch.manual_seed(0)
    images = torch.randn(64, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    spec = ModelSpec(name=name, widths=widths)
    exact, plain = learn(build(spec), images, bf16=False), learn(build(spec), images, bf16=True)
    model = build(spec)
    use_compiled(model, True)
    assert (learn(model, images, bf16=True) - exact).norm() < furthest * (plain - exact).norm()
    assert len(calls) >= 10, "in training and in evaluation"


@needs_kernels
@pytest.mark.parametrize(
    ("spec", "fewest"),
    [*[(spec, 0) for spec in NETS], (ModelSpec(name="toynet14", widths=(32, 32, 32, 64)), 10)],
    ids=lambda value: getattr(value, "name", None),
)
def test_in_fp32_a_network_is_exact_but_for_rounding(spec, fewest, monkeypatch: pytest.MonkeyPatch):
    """With GELU for every ReLU: at its kink the least error changes a gradient as a whole."""
    norms, products = [], []
    monkeypatch.setattr(kernels, "_averages", counting(kernels._averages, norms))
    monkeypatch.setattr(winograd, "plan", counting(winograd.plan, products))
    torch.manual_seed(0)
    images = torch.randn(64, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    exact = learn(smooth(build(spec)).double(), images.double(), bf16=False)
    assert not norms + products
    model = smooth(build(spec))
    use_compiled(model, True)
    found = learn(model, images, bf16=False)
    assert (found - exact).norm() < 5e-5 * exact.norm()
    assert len(norms) == 2 * sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert len(products) >= fewest


def smooth(model: nn.Module) -> nn.Module:
    for part in list(model.modules()):
        for name, layer in part.named_children():
            if isinstance(layer, nn.ReLU):
                setattr(part, name, nn.GELU())
    return model


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
    monkeypatch.setattr(winograd, "pays", lambda _: True)
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
def test_what_watches_torchs_last_convolution_does_not_see_the_sum():
    """In contiguous order maps are torch's."""
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


@pytest.mark.parametrize("numbers", [torch.bfloat16, torch.float32], ids=str)
def test_where_there_is_no_compiler_the_switch_changes_nothing(numbers, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(kernels, "obstacle", {numbers: "no compiler"}.get)
    layers = Chain(SameConv(16, 16), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), SameConv(16, 16))
    maps = torch.randn(8, 16, 8, 8).to(numbers).contiguous(memory_format=torch.channels_last)
    results = []
    for wanted in (False, True):
        use_compiled(layers, wanted)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=numbers == torch.bfloat16):
            results.append(layers(maps))
    assert torch.equal(*results)


@needs_kernels
@pytest.mark.parametrize("spec", NETS, ids=lambda spec: f"{spec.name} {spec.order}")
def test_in_bf16_no_kernels_for_fp32_are_made(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch):
    """Which would take seconds of a first start."""
    asked, outcome = set(), compiling._outcome_once
    monkeypatch.setattr(compiling, "_outcome_once", lambda numbers: asked.add(numbers) or outcome(numbers))
    model = build(spec)
    use_compiled(model, True)
    learn(model, torch.randn(8, 3, 32, 32).contiguous(memory_format=torch.channels_last), bf16=True)
    assert asked == {torch.bfloat16}
