"""Winograd's filtering against torch's convolution in double precision."""

import math
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from toynet.kernels import matrix, winograd
from toynet.kernels.build import library, obstacle
from toynet.models.same import SameConv

pytestmark = pytest.mark.skipif(
    obstacle(torch.float32) is not None, reason=f"no compiled kernels: {obstacle(torch.float32)}"
)

SHAPES = [
    # images, channels, filters, height, width
    (3, 32, 16, 5, 7),
    (2, 64, 96, 4, 4),
    (1, 16, 48, 3, 3),
    (4, 128, 64, 8, 8),
    (5, 112, 240, 9, 6),
    (1, 16, 16, 1, 1),
    (70, 16, 16, 2, 1),
    (2, 16, 32, 7, 8),
]

BF16, FP32 = torch.bfloat16, torch.float32
BOTH = pytest.mark.parametrize("numbers", [BF16, FP32], ids=str)

FURTHEST = {(BF16, 1): 9e-3, (BF16, 2): 6e-3, (FP32, 1): 3e-6, (FP32, 2): 1e-6}
"""By numbers and stride, the largest error of results relative to their size."""

Three = tuple[Tensor, Tensor, Tensor]
"""Outputs, and gradients by maps and kernel; or maps, a kernel, and a gradient by outputs."""


def draw(
    images: int, channels: int, filters: int, height: int, width: int, stride: int, numbers=BF16
) -> Three:
    torch.manual_seed(0)
    maps = torch.randn(images, channels, height, width).to(numbers)
    gradient = torch.randn(images, filters, -(-height // stride), -(-width // stride)).to(numbers)
    kernel = torch.randn(filters, channels, 3, 3)
    return channels_last(maps), kernel, channels_last(gradient)


def channels_last(maps: Tensor) -> Tensor:
    return maps.contiguous(memory_format=torch.channels_last)


def passes(maps: Tensor, kernel: Tensor, gradient: Tensor, stride: int, *, ours: bool) -> Three:
    """By Winograd's filtering, or by torch in the precision of what is given."""
    layer = SameConv(kernel.shape[1], len(kernel), stride=stride)
    maps, kernel = maps.clone().requires_grad_(), kernel.clone().requires_grad_()
    if ours:
        outputs = winograd.convolve(maps, kernel, layer.windows(maps.shape))
    else:
        (top, bottom), (left, right) = layer.lines(maps.shape)
        outputs = F.conv2d(F.pad(maps, (left, right, top, bottom)), kernel, stride=stride)
    return outputs.detach(), *torch.autograd.grad(outputs, (maps, kernel), gradient)


def exact(given: Three, stride: int) -> Three:
    return passes(*(tensor.double() for tensor in given), stride, ours=False)


def error(found: Tensor, reference: Tensor) -> float:
    return float((found.double() - reference).norm() / reference.norm())


@pytest.fixture(params=[1, 2, 3, 4, 6])
def threads(request: pytest.FixtureRequest):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@BOTH
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_the_convolution_and_its_gradients(shape, stride: int, numbers: torch.dtype):
    given = draw(*shape, stride, numbers)
    found = passes(*given, stride, ours=True)
    for name, ours, reference in zip(("outputs", "maps", "kernel"), found, exact(given, stride), strict=True):
        assert error(ours, reference) < FURTHEST[numbers, stride], name
    assert [tensor.dtype for tensor in found] == [numbers, numbers, FP32]
    assert found[0].is_contiguous(memory_format=torch.channels_last)


@pytest.fixture
def plans():
    """No plan of other tests is kept, nor one of this for others."""
    winograd._plan.cache_clear()
    yield winograd._plan
    winograd._plan.cache_clear()


@pytest.mark.parametrize(
    ("sums", "numbers", "groups"),
    [(1, BF16, 1), (2 * 24 * 32 * 16, BF16, 2), (2 * 36 * 32 * 16, FP32, 2), (1 << 26, BF16, 3)],
)
def test_large_kernels_are_left_to_fewer_threads(
    sums: int, numbers: torch.dtype, groups: int, plans, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(winograd, "_MOST_SUMS", sums)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    given = draw(3, 32, 16, 6, 6, 1, numbers)
    assert error(passes(*given, 1, ours=True)[2], exact(given, 1)[2]) < FURTHEST[numbers, 1]
    plan = plans(given[0].shape, numbers, 16, SameConv(32, 16).windows(given[0].shape), 3)
    assert (plan.kernel.job.threads, plan.kernel.job.sharing) == (groups, 1)


@pytest.mark.parametrize(("many", "shares"), [(0, False), (1 << 20, True)])
@pytest.mark.parametrize("threads", [2, 4, 6])
@BOTH
@pytest.mark.parametrize("stride", [1, 2])
def test_threads_share_tiles_or_not(
    many: int,
    shares: bool,
    threads: int,
    stride: int,
    numbers: torch.dtype,
    plans,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(winograd, "_MANY_TILES", many)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    given = draw(9, 32, 48, 8, 8, stride, numbers)
    assert error(passes(*given, stride, ours=True)[2], exact(given, stride)[2]) < FURTHEST[numbers, stride]
    plan = plans(
        given[0].shape, numbers, 48, SameConv(32, 48, stride=stride).windows(given[0].shape), threads
    )
    assert plan.kernel.job.sharing == (math.gcd(threads, 4) if shares else 1)


@pytest.mark.parametrize("numbers_at_once", [1, 1 << 22], ids=["chunks", "whole"])
@pytest.mark.parametrize("threads", [1, 2, 5])
@BOTH
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(3, 64, 112, 9, 6), (1, 32, 48, 8, 8)], ids=str)
def test_a_kernel_turned_by_every_thread_is_the_one_turned_beforehand(
    shape, stride: int, numbers: torch.dtype, threads: int, numbers_at_once: int, plans, monkeypatch
):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(winograd, "_FRESH_NUMBERS", numbers_at_once)
    given, filters = draw(*shape, stride, numbers), shape[2]
    found = []
    for few in (0, filters):
        monkeypatch.setattr(winograd, "_FEW_TILES", few)
        plans.cache_clear()
        found.append(passes(*given, stride, ours=True))
        windows = SameConv(shape[1], filters, stride=stride).windows(given[0].shape)
        plan = plans(given[0].shape, numbers, filters, windows, threads)
        assert plan.forward.job.fresh == bool(few)
    assert all(torch.equal(*pair) for pair in zip(*found, strict=True))


@pytest.mark.parametrize(
    ("numbers", "stride", "most"),
    [
        (BF16, 1, (3.3, 3.3, 4.4)),
        (BF16, 2, (2, 2, 2.2)),
        (FP32, 1, (4, 6, 4.5)),  # with AVX-512 torch's own sums are of more parts, and err less
        (FP32, 2, (2, 3, 3)),
    ],
)
def test_errors_are_few_times_those_of_torch(numbers: torch.dtype, stride: int, most: tuple[float, ...]):
    maps, kernel, gradient = given = draw(32, 128, 128, 8, 8, stride, numbers)
    direct = passes(maps, kernel.to(numbers), gradient, stride, ours=False)
    found, references = passes(*given, stride, ours=True), exact(given, stride)
    for ours, theirs, reference, times in zip(found, direct, references, most, strict=True):
        assert error(ours, reference) < times * error(theirs, reference)


@BOTH
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 4), (6, 7), (4, 9)])
def test_every_place_gets_what_is_its_own(size: tuple[int, int], stride: int, numbers: torch.dtype):
    """By whole numbers so small that at stride 2 every point of them is exact."""
    torch.manual_seed(0)
    given = draw(2, 16, 16, *size, stride, numbers)
    given = tuple(tensor.fill_(0).add_(torch.randint(-2, 3, tensor.shape) * 4) for tensor in given)
    found = passes(*given, stride, ours=True)
    for ours, reference in zip(found, exact(given, stride), strict=True):
        off = (ours.double() - reference.to(ours.dtype)).abs().max()
        most = {(BF16, 1): 0.04, (FP32, 1): 1e-5}.get((numbers, stride), 0)
        assert off <= most * reference.abs().max()


@BOTH
@pytest.mark.parametrize("stride", [1, 2])
def test_the_result_does_not_depend_on_what_memory_held(
    stride: int, numbers: torch.dtype, monkeypatch: pytest.MonkeyPatch
):
    given = draw(3, 48, 32, 5, 5, stride, numbers)
    clean = passes(*given, stride, ours=True)
    empty = torch.empty

    def full_of_nan(*shape, **options):
        made = empty(*shape, **options)
        return made.fill_(math.nan) if made.is_floating_point() else made.fill_(-1)

    monkeypatch.setattr(torch, "empty", full_of_nan)
    for ours, again in zip(clean, passes(*given, stride, ours=True), strict=True):
        assert torch.equal(ours, again)


@BOTH
@pytest.mark.parametrize("stride", [1, 2])
def test_an_addend_is_added_before_rounding(stride: int, numbers: torch.dtype):
    """By whole numbers whose sums bf16 cannot hold; at stride 2 every point of them is exact."""
    maps, kernel, gradient = (tensor.mul(4).round() for tensor in draw(3, 32, 16, 9, 7, stride, numbers))
    exactly = exact((maps, kernel, gradient), stride)[0]
    addend = channels_last(1 - exactly.bfloat16().to(numbers)).requires_grad_()
    total = winograd.convolve(maps, kernel, SameConv(32, 16, stride=stride).windows(maps.shape), addend)
    total.backward(gradient)
    assert torch.equal(addend.grad, gradient)
    if stride == 2:
        assert torch.equal(total, (exactly + addend.double()).to(numbers))
        assert not torch.equal(total, exactly.bfloat16() + addend)
    else:
        off = (total.detach().double() - exactly - addend.detach().double()).abs().max()
        assert off < exactly.abs().max() * (0.04 if numbers == BF16 else 1e-5)
    with pytest.raises(ValueError, match="outputs of"):
        winograd.convolve(maps, kernel, SameConv(32, 16, stride=stride).windows(maps.shape), addend[:, :, :1])


@BOTH
def test_nan_passes_so_that_a_diverged_run_shows(numbers: torch.dtype):
    maps, *others = draw(1, 16, 16, 4, 4, 1, numbers)
    maps[0, 3, 1, 1] = math.nan
    assert all(result.isnan().any() for result in passes(maps, *others, 1, ours=True)[::2])


def test_counts_that_are_no_multiples_are_not_taken():
    assert winograd.takes(16, 240)
    assert not winograd.takes(24, 64)
    assert not winograd.takes(64, 10)
    assert winograd.takes(4096, 4096)
    assert not winograd.takes(32, 4112)


@pytest.mark.parametrize("flags", [set(), {"amx_bf16"}])
def test_a_matrix_unit_for_bf16_is_left_its_work(flags: set[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(matrix, "flags", lambda: flags)
    fast = {BF16: library(BF16).winograd_is_fast() and not flags, FP32: True}
    assert {numbers: winograd.pays.__wrapped__(numbers) for numbers in fast} == fast


def test_processors_without_the_instruction_compute_the_same(tmp_path: Path):
    """Compiled for any processor of this kind, in a process of its own."""
    compiler = tmp_path / "cc"
    compiler.write_text(
        '#!/bin/sh\nfor word; do [ "$word" = -march=native ] || set -- "$@" "$word"; shift; done\n'
        'exec cc "$@"\n'
    )
    compiler.chmod(compiler.stat().st_mode | stat.S_IXUSR)
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, torch\n"
        "from toynet.kernels import winograd\n"
        "from toynet.kernels.build import library\n"
        "from toynet.models.same import SameConv\n"
        "found = []\n"
        "for (numbers, stride), (maps, kernel, gradient) in torch.load(sys.argv[1]).items():\n"
        "    maps.requires_grad_(), kernel.requires_grad_()\n"
        "    outputs = winograd.convolve(maps, kernel, SameConv(32, 16, stride=stride).windows(maps.shape))\n"
        "    found.append((outputs.detach(), *torch.autograd.grad(outputs, (maps, kernel), gradient)))\n"
        "fast = [library(numbers).winograd_is_fast() for numbers in (torch.bfloat16, torch.float32)]\n"
        "torch.save((fast, found), sys.argv[1])\n"
    )
    given = {case: draw(3, 32, 16, 5, 7, case[1], case[0]) for case in FURTHEST}
    torch.save(given, tmp_path / "tensors.pt")
    environment = os.environ | {"CC": str(compiler), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, script, tmp_path / "tensors.pt"], env=environment, check=True)
    fast, found = torch.load(tmp_path / "tensors.pt")
    assert fast == [0, 1]
    for case, results in zip(given, found, strict=True):
        for ours, reference in zip(results, exact(given[case], case[1]), strict=True):
            assert error(ours, reference) < FURTHEST[case]
