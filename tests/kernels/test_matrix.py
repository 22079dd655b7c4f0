"""Convolutions in a matrix unit, or in plain C where there is none, against torch's in double precision."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from toynet.kernels import matrix
from toynet.kernels.build import obstacle
from toynet.models.same import SameConv

BF16 = torch.bfloat16
pytestmark = pytest.mark.skipif(obstacle(BF16) is not None, reason=f"no compiled kernels: {obstacle(BF16)}")

SHAPES = [
    # images, channels, filters, height, width
    (3, 32, 64, 5, 7),
    (33, 64, 32, 4, 4),
    (20, 32, 32, 1, 1),
    (2, 16, 16, 4, 8),
    (35, 16, 16, 3, 7),
    (2, 16, 96, 6, 5),
    (17, 64, 16, 5, 9),
    (2, 16, 16, 1, 1),
    (70, 32, 32, 2, 3),
]
WINDOWS = [(3, 1), (3, 2), (1, 2), (1, 1)]
"""Side and stride."""

Three = tuple[Tensor, Tensor, Tensor]
"""Outputs, and gradients by maps and kernel; or maps, a kernel, and a gradient by outputs."""


def channels_last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last)


def draw(shape: tuple[int, ...], side: int, stride: int, *, whole: bool = True) -> Three:
    """Of whole numbers, whose sums floats hold exactly, unless told otherwise."""
    torch.manual_seed(0)
    images, channels, filters, height, width = shape
    outputs = images, filters, -(-height // stride), -(-width // stride)
    sizes = (images, channels, height, width), (filters, channels, side, side), outputs
    drawn = [torch.randint(-3, 4, size) if whole else torch.randn(size) for size in sizes]
    maps, kernel, gradient = (channels_last(one.to(BF16)) for one in drawn)
    return maps, kernel.float(), gradient


def passes(given: Three, side: int, stride: int) -> Three:
    maps, kernel, gradient = given[0].clone().requires_grad_(), given[1].clone().requires_grad_(), given[2]
    windows = SameConv(kernel.shape[1], len(kernel), side, stride).windows(maps.shape)
    outputs = matrix.convolve(maps, kernel, windows)
    return outputs.detach(), *torch.autograd.grad(outputs, (maps, kernel), gradient)


def exact(given: Three, side: int, stride: int) -> Three:
    maps, kernel, gradient = (tensor.double() for tensor in given)
    maps.requires_grad_(), kernel.requires_grad_()
    (top, bottom), (left, right) = SameConv(kernel.shape[1], len(kernel), side, stride).lines(maps.shape)
    outputs = F.conv2d(F.pad(maps, (left, right, top, bottom)), kernel, stride=stride)
    return outputs.detach(), *torch.autograd.grad(outputs, (maps, kernel), gradient)


def assert_exact(given: Three, side: int, stride: int) -> None:
    found = passes(given, side, stride)
    assert [tensor.dtype for tensor in found] == [BF16, BF16, torch.float32]
    assert found[0].is_contiguous(memory_format=torch.channels_last)
    for name, ours, reference in zip(
        ("outputs", "maps", "kernel"), found, exact(given, side, stride), strict=True
    ):
        assert torch.equal(ours, reference.to(ours.dtype)), name


@pytest.fixture(params=[1, 2, 3, 4])
def threads(request: pytest.FixtureRequest):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(("side", "stride"), WINDOWS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_the_convolution_and_its_gradients(shape: tuple[int, ...], side: int, stride: int):
    assert_exact(draw(shape, side, stride), side, stride)


@pytest.fixture
def plans():
    """No plan of other tests is kept, nor one of this for others."""
    matrix._plan.cache_clear()
    yield
    matrix._plan.cache_clear()


@pytest.mark.usefixtures("plans", "threads")
@pytest.mark.parametrize("held", [1, 20, 1 << 10])
@pytest.mark.parametrize(("fresh", "large"), [(1, 1), (1 << 40, 1 << 40)])
@pytest.mark.parametrize(
    ("shape", "stride"), [((70, 64, 256, 4, 4), 1), ((40, 128, 128, 7, 6), 2), ((70, 16, 32, 9, 8), 1)]
)
def test_however_it_is_cut_up(shape, stride, held: int, fresh: int, large: int, monkeypatch):
    """Lines that are held, blocks of images and slices of channels at once; panels and shares of filters."""
    for name in ("_HELD", "_HELD_PIXELS", "_HELD_RESULTS"):
        monkeypatch.setattr(matrix, name, held * 1024)
    monkeypatch.setattr(matrix, "_FRESH", fresh)
    monkeypatch.setattr(matrix, "_LARGE_KERNEL", large)
    assert_exact(draw(shape, 3, stride), 3, stride)


@pytest.mark.usefixtures("plans")
def test_the_cuts_differ(monkeypatch: pytest.MonkeyPatch):
    """Or the test above would ask the same again and again."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    maps, kernel, _ = draw((70, 64, 256, 4, 4), 3, 1)
    windows = SameConv(64, 256).windows(maps.shape)
    told = []
    for held, fresh in ((1, 1), (1024, 1), (1024, 1 << 40)):
        for name in ("_HELD", "_HELD_PIXELS", "_HELD_RESULTS"):
            monkeypatch.setattr(matrix, name, held * 1024)
        monkeypatch.setattr(matrix, "_FRESH", fresh)
        monkeypatch.setattr(matrix, "_LARGE_KERNEL", fresh)
        matrix._plan.cache_clear()
        plan = matrix.plan(maps, kernel, windows)
        told.append(
            [getattr(job, name) for job in (plan.forward.job, plan.kernel.job) for name, _ in job._fields_]
        )
    assert all(one != other for one, other in pairwise(told))


@pytest.mark.parametrize(("side", "stride"), WINDOWS)
def test_results_are_as_near_as_their_numbers_allow(side: int, stride: int):
    """A bf16 number has eight digits; the gradient by the kernel is in floats."""
    given = draw((64, 64, 32, 8, 8), side, stride, whole=False)
    for ours, reference, most in zip(
        passes(given, side, stride), exact(given, side, stride), (2e-3, 2e-3, 1e-6), strict=True
    ):
        assert (ours.double() - reference).norm() < most * reference.norm()


@pytest.mark.parametrize("channels", [16, 32])
@pytest.mark.parametrize(("side", "stride"), WINDOWS)
def test_the_result_does_not_depend_on_what_memory_held(
    channels: int, side: int, stride: int, monkeypatch: pytest.MonkeyPatch
):
    given = draw((5, channels, 48 - channels, 5, 5), side, stride)
    clean = passes(given, side, stride)
    empty = torch.empty

    def full_of_nan(*shape, **options):
        made = empty(*shape, **options)
        return made.fill_(math.nan) if made.is_floating_point() else made.fill_(-1)

    monkeypatch.setattr(torch, "empty", full_of_nan)
    for ours, again in zip(clean, passes(given, side, stride), strict=True):
        assert torch.equal(ours, again)


@pytest.mark.parametrize("channels", [16, 32])
@pytest.mark.parametrize(("side", "stride"), WINDOWS)
def test_an_addend_is_added_before_rounding(channels: int, side: int, stride: int):
    maps, kernel, gradient = given = draw((3, channels, 64, 5, 7), side, stride)
    windows = SameConv(channels, 64, side, stride).windows(maps.shape)
    outputs, by_maps, by_kernel = exact(given, side, stride)
    addend = channels_last(1 - outputs.to(BF16)).requires_grad_()
    total = matrix.convolve(maps, kernel, windows, addend)
    total.backward(gradient)
    assert torch.equal(addend.grad, gradient)
    assert torch.equal(total, (outputs + addend.double()).to(BF16))

    plan, held = matrix.plan(maps, kernel, windows), channels_last(torch.ones_like(maps))
    assert torch.equal(plan.by_maps(gradient, kernel, held), (by_maps + 1).to(BF16))
    assert torch.equal(matrix.add_gradients(maps, kernel, windows, gradient, held), by_kernel.float())
    assert torch.equal(held, (by_maps + 1).to(BF16))
    with pytest.raises(ValueError, match="outputs of"):
        matrix.convolve(maps, kernel, windows, addend[:, :, :0])


def test_nan_passes_so_that_a_diverged_run_shows():
    maps, *others = draw((1, 32, 32, 4, 4), 3, 1)
    maps[0, 3, 1, 1] = math.nan
    assert all(result.isnan().any() for result in passes((maps, *others), 3, 1)[::2])


def test_counts_that_fill_no_cell_are_not_taken():
    assert matrix.takes(16, 96)
    assert matrix.takes(4096, 16)
    assert not matrix.takes(48, 64)
    assert not matrix.takes(64, 10)
    assert not matrix.takes(32, 4128)
