from copy import deepcopy

import pytest
import torch

from toynet.kernels import matrix, winograd
from toynet.kernels.build import obstacle
from toynet.kernels.windows import Windows
from toynet.models import same
from toynet.models.same import SameConv, choose_way

BF16, FP32 = torch.bfloat16, torch.float32
WHY_NOT = obstacle(torch.float32)
needs_kernels = pytest.mark.skipif(WHY_NOT is not None, reason=f"no compiled kernels: {WHY_NOT}")
both = pytest.mark.parametrize("numbers", [BF16, FP32], ids=str)

SHAPES = [
    # channels in, out, height, width, side, stride, way
    (16, 32, 4, 4, 3, 1, "product"),
    (16, 8, 3, 5, 3, 1, "product"),
    (8, 8, 1, 1, 3, 1, "product"),
    (16, 32, 8, 8, 3, 2, "product"),
    (16, 32, 7, 5, 3, 2, "product"),
    (16, 32, 6, 7, 3, 2, "product"),
    (8, 8, 2, 2, 3, 2, "product"),
    (12, 24, 8, 8, 1, 2, "product"),
    (12, 24, 7, 9, 1, 2, "product"),
    (128, 32, 8, 7, 3, 1, "weight"),
    (16, 32, 8, 8, 3, 1, "library"),
    (8, 16, 32, 32, 3, 2, "library"),
    (8, 16, 4, 4, 1, 1, "library"),
]
WITH_FAST_VECTORS = [
    (32, 64, 8, 7, 3, 1, "winograd"),
    (16, 32, 28, 27, 3, 2, "winograd"),
    (32, 16, 27, 28, 3, 2, "winograd"),
    (32, 64, 16, 16, 3, 2, "product"),
    (16, 16, 8, 8, 3, 1, "winograd"),
    (16, 24, 8, 8, 3, 1, "library"),
    (32, 40, 4, 4, 3, 1, "product"),
    (32, 32, 32, 2, 3, 1, "library"),
    (32, 32, 4, 4, 3, 1, "product"),
    (32, 64, 32, 32, 1, 2, "product"),
]
IN_MATRIX_UNIT = [
    (32, 64, 8, 7, 3, 1, "matrix"),
    (16, 32, 4, 5, 3, 2, "matrix"),
    (16, 16, 6, 6, 3, 1, "matrix"),
    (32, 64, 8, 8, 1, 2, "matrix"),
    (32, 64, 8, 8, 1, 1, "library"),
    (16, 24, 8, 8, 3, 1, "library"),
    (32, 40, 4, 4, 3, 1, "product"),
]
FAST = {"nothing": SHAPES, "vectors": WITH_FAST_VECTORS, "matrix unit": IN_MATRIX_UNIT}
CASES = [
    (*shape, fast, numbers)
    for fast, shapes in FAST.items()
    for shape in shapes
    for numbers in ((BF16,) if fast == "matrix unit" else (BF16, FP32))
]
FURTHEST = {BF16: {"winograd": 9e-3, "others": 5e-3}, FP32: {"winograd": 2e-6, "others": 2e-6}}
"""The largest error of results relative to their size, by what compiled maps hold and by the way."""


@pytest.fixture(autouse=True)
def no_matrix_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matrix, "is_there", lambda: False)


def counting(function, calls):
    def wrapped(*arguments):
        calls.append(function)
        return function(*arguments)

    return wrapped


def draw(*shape: int, numbers: torch.dtype = BF16) -> torch.Tensor:
    return torch.randn(shape).to(numbers).contiguous(memory_format=torch.channels_last)


def arithmetic(numbers: torch.dtype) -> torch.autocast:
    return torch.autocast("cpu", dtype=BF16, enabled=numbers == BF16)


def both_ways(layer, maps, gradient, compiled):
    """Output and gradients by maps and weight, in the arithmetic of training."""
    layer.compiled = compiled
    with arithmetic(maps.dtype):
        out = layer(maps)
    return out.detach(), *torch.autograd.grad(out, (maps, layer.weight), gradient)


@needs_kernels
@pytest.mark.parametrize(
    ("channels", "filters", "height", "width", "side", "stride", "way", "fast", "numbers"), CASES, ids=str
)
def test_every_way_is_the_convolution_and_its_gradients(
    channels, filters, height, width, side, stride, way, fast, numbers, monkeypatch
):
    monkeypatch.setattr(winograd, "pays", lambda _: fast == "vectors")
    monkeypatch.setattr(matrix, "is_there", lambda: fast == "matrix unit")
    calls = []
    for owner, name in ((winograd, "convolve"), (matrix, "convolve"), (Windows, "gather")):
        monkeypatch.setattr(owner, name, counting(getattr(owner, name), calls))
    torch.manual_seed(0)
    images = 12 if numbers == FP32 and stride == 1 else 6  # tiles of fp32 are larger there
    maps = draw(images, channels, height, width, numbers=numbers).requires_grad_()
    layer = SameConv(channels, filters, side, stride)
    with torch.no_grad():
        layer.weight.copy_(layer.weight.bfloat16())
    assert choose_way(layer.windows(maps.shape), len(maps), channels, filters, numbers) == way
    precise = deepcopy(layer).double()
    exact = precise(maps.double())
    gradient = draw(*exact.shape, numbers=numbers)
    references = exact.detach(), *torch.autograd.grad(exact, (maps, precise.weight), gradient.double())
    for compiled in (False, True):
        found = both_ways(layer, maps, gradient, compiled)
        assert bool(calls) is (compiled and way != "library")
        for name, ours, reference in zip(("output", "maps", "weight"), found, references, strict=True):
            error = float((ours.double() - reference.double()).norm() / reference.double().norm())
            furthest = FURTHEST[numbers]["winograd" if compiled and way == "winograd" else "others"]
            assert error < furthest, f"{name}: {error:.1e} is more than rounding"


@needs_kernels
@pytest.mark.parametrize("case", ["not switched on", "evaluating", "double"])
def test_other_passes_are_left_to_the_library(case: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Windows, "gather", None)
    layer, numbers = SameConv(8, 8), BF16
    if case == "double":
        layer, numbers = layer.double(), torch.float64
    layer.compiled = case != "not switched on"
    layer.train(case != "evaluating")
    with arithmetic(numbers):
        layer(draw(2, 8, 4, 4, numbers=numbers))


@needs_kernels
@both
@pytest.mark.parametrize("fast", ["nothing", "vectors", "matrix unit"])
def test_evaluation_is_fast_too(fast: str, numbers, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(winograd, "pays", lambda _: fast == "vectors")
    monkeypatch.setattr(matrix, "is_there", lambda: fast == "matrix unit")
    calls = []
    for way in (winograd, matrix):
        monkeypatch.setattr(way, "convolve", counting(way.convolve, calls))
    layer = SameConv(32, 32).eval()
    maps = draw(4, 32, 8, 8, numbers=numbers)
    with torch.no_grad(), arithmetic(numbers):
        direct = layer(maps)
        layer.compiled = True
        found = layer(maps)
    taken = fast == "vectors" or (fast, numbers) == ("matrix unit", BF16)
    assert len(calls) == taken
    error = float((found - direct).float().norm() / direct.float().norm())
    assert error < (1e-2 if numbers == BF16 else 2e-6)


@needs_kernels
@pytest.mark.parametrize("training", [True, False])
def test_maps_of_another_number_of_channels_are_refused_as_by_torch(
    training: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(winograd, "pays", lambda _: True)
    layer = SameConv(64, 32).train(training)
    layer.compiled = True
    with torch.autocast("cpu", dtype=torch.bfloat16), pytest.raises(RuntimeError, match="channels"):
        layer(draw(8, 32, 8, 8))


@needs_kernels
@both
@pytest.mark.parametrize("unit", [False, True])
def test_evaluation_of_an_image_does_not_depend_on_its_company(unit, numbers, monkeypatch):
    monkeypatch.setattr(winograd, "pays", lambda _: True)
    monkeypatch.setattr(matrix, "is_there", lambda: unit)
    layer = SameConv(64, 64).eval()
    layer.compiled = True
    maps = draw(16, 64, 8, 8, numbers=numbers)
    with torch.no_grad(), arithmetic(numbers):
        assert torch.equal(layer(maps)[:1], layer(maps[:1]))


@needs_kernels
@pytest.mark.parametrize("side", [4, 8])
def test_a_gradient_of_a_gradient_is_refused(side: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(winograd, "pays", lambda _: side == 8)
    layer = SameConv(32, 32)
    layer.compiled = True
    maps = draw(8, 32, side, side).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (slope,) = torch.autograd.grad(layer(maps).square().sum(), maps, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.square().sum().backward()


@needs_kernels
def test_frozen_maps_or_weight_need_no_gradient(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(winograd, "pays", lambda _: True)
    for channels, filters, side in ((8, 8, 4), (128, 8, 8), (32, 32, 8)):
        layer = SameConv(channels, filters)
        layer.compiled = True
        maps = draw(8, channels, side, side)
        layer(maps).sum().backward()
        assert maps.grad is None
        assert layer.weight.grad.shape == layer.weight.shape
        layer.weight.requires_grad_(False)
        maps.requires_grad_()
        layer(maps).sum().backward()
        assert maps.grad.shape == maps.shape


@needs_kernels
@pytest.mark.parametrize(("side", "stride", "size"), [(3, 1, 8), (3, 1, 4), (1, 2, 8)])
def test_fp32_maps_under_autocast_are_left_to_it(side: int, stride: int, size: int, monkeypatch):
    monkeypatch.setattr(winograd, "pays", lambda numbers: True)
    layer = SameConv(32, 32, side, stride)
    maps = draw(8, 32, size, size, numbers=torch.float32)
    found = []
    for layer.compiled in (True, False):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found.append(layer(maps))
    assert found[0].dtype == torch.bfloat16
    assert torch.equal(*found)


@needs_kernels
def test_an_addend_of_other_numbers_is_added_by_torch(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(winograd, "pays", lambda numbers: True)
    layer = SameConv(32, 32)
    layer.compiled = True
    maps, addend = draw(8, 32, 8, 8), draw(8, 32, 8, 8, numbers=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(maps, addend), layer(maps) + addend)


def test_one_pixel_windows_are_never_padded():
    layer = SameConv(3, 3, side=1, stride=2)
    assert layer.lines(torch.Size((1, 3, 6, 7))) == ((0, 0), (0, 0))
    maps = torch.randn(1, 3, 6, 7)
    expected = torch.einsum("kc,nchw->nkhw", layer.weight[:, :, 0, 0], maps[:, :, ::2, ::2])
    torch.testing.assert_close(layer(maps), expected)


def test_the_ways_have_names_of_their_own():
    assert set(same.Way.__args__) == {way for *_, way, _, _ in CASES}


@pytest.mark.parametrize("channels", [1, 3, 4, 7, 8])
def test_few_channels_under_one_pixel_windows(channels: int):
    """With fewer than eight, torch's gradient by the kernel is not to be trusted on all processors."""
    layer = SameConv(channels, 5, side=1, stride=2)
    maps = torch.randn(3, channels, 9, 8).contiguous(memory_format=torch.channels_last).requires_grad_()
    outputs = layer(maps)
    gradient = torch.randn_like(outputs)
    found = torch.autograd.grad(outputs, (maps, layer.weight), gradient)
    expected = torch.einsum("kc,nchw->nkhw", layer.weight[:, :, 0, 0], maps[:, :, ::2, ::2])
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(found, torch.autograd.grad(expected, (maps, layer.weight), gradient))
