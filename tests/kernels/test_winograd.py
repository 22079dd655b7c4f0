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

from toynet.kernels import winograd
from toynet.kernels.build import obstacle

pytestmark = pytest.mark.skipif(obstacle() is not None, reason=f"no compiled kernels: {obstacle()}")

SHAPES = [
    # images, channels, filters, height, width
    (3, 32, 16, 5, 7),
    (2, 64, 96, 4, 4),
    (1, 16, 48, 3, 3),
    (4, 128, 64, 8, 8),
    (5, 112, 240, 9, 6),
    (1, 16, 16, 1, 1),
    (70, 16, 16, 2, 1),
]


def channels_last(maps: Tensor) -> Tensor:
    return maps.contiguous(memory_format=torch.channels_last)


def draw(shape: tuple[int, int, int, int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Maps, a kernel, and a gradient by the outputs."""
    images, channels, filters, height, width = shape
    torch.manual_seed(0)
    maps = channels_last(torch.randn(images, channels, height, width).bfloat16())
    gradient = channels_last(torch.randn(images, filters, height, width).bfloat16())
    return maps, torch.randn(filters, channels, 3, 3), gradient


def passes(convolve, maps: Tensor, kernel: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The outputs, and the gradients by maps and kernel."""
    maps, kernel = maps.clone().requires_grad_(), kernel.clone().requires_grad_()
    outputs = convolve(maps, kernel)
    return outputs.detach(), *torch.autograd.grad(outputs, (maps, kernel), gradient)


def exact(maps: Tensor, kernel: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    def convolve(maps: Tensor, kernel: Tensor) -> Tensor:
        return F.conv2d(maps, kernel, padding=1)

    return passes(convolve, maps.double(), kernel.double(), gradient.double())


def error(found: Tensor, reference: Tensor) -> float:
    return float((found.double() - reference).norm() / reference.norm())


@pytest.fixture(params=[1, 2, 3, 4, 6])
def threads(request: pytest.FixtureRequest):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_the_convolution_and_its_gradients(shape):
    given = draw(shape)
    found = passes(winograd.convolve, *given)
    for name, ours, reference in zip(("outputs", "maps", "kernel"), found, exact(*given), strict=True):
        assert error(ours, reference) < 6e-3, name
    assert [tensor.dtype for tensor in found] == [torch.bfloat16, torch.bfloat16, torch.float32]
    assert found[0].is_contiguous(memory_format=torch.channels_last)


def test_errors_are_about_twice_those_of_bf16():
    maps, kernel, gradient = draw((32, 128, 128, 8, 8))
    references = exact(maps, kernel, gradient)
    direct = passes(lambda *given: F.conv2d(*given, padding=1), maps, kernel.bfloat16(), gradient)
    for ours, theirs, reference in zip(
        passes(winograd.convolve, maps, kernel, gradient), direct, references, strict=True
    ):
        assert error(ours, reference) < 2.7 * error(theirs, reference)


def test_every_output_is_written_and_nothing_beside_them():
    """By maps of ones and a kernel of which every tap is another power of two: all is exact."""
    kernel = (2.0 ** torch.arange(9)).view(1, 1, 3, 3).expand(16, 16, 3, 3).contiguous() / 16
    for height, width in ((1, 1), (2, 3), (5, 4)):
        maps = channels_last(torch.ones(2, 16, height, width).bfloat16())
        reference = F.conv2d(maps.float(), kernel, padding=1)
        assert error(winograd.convolve(maps, kernel), reference.double()) < 3e-3


def test_the_result_does_not_depend_on_what_memory_held(monkeypatch: pytest.MonkeyPatch):
    given = draw((3, 48, 32, 5, 5))
    clean = passes(winograd.convolve, *given)
    empty = torch.empty

    def full_of_nan(*shape, **options):
        made = empty(*shape, **options)
        return made.fill_(math.nan) if made.is_floating_point() else made.fill_(-1)

    monkeypatch.setattr(torch, "empty", full_of_nan)
    for ours, again in zip(clean, passes(winograd.convolve, *given), strict=True):
        assert torch.equal(ours, again)


def test_nan_passes_so_that_a_diverged_run_shows():
    maps, kernel, _ = draw((1, 16, 16, 4, 4))
    maps[0, 3, 1, 1] = math.nan
    assert winograd.convolve(maps, kernel).isnan().any()


def test_counts_that_are_no_multiples_are_not_taken():
    assert winograd.takes(16, 240)
    assert not winograd.takes(24, 64)
    assert not winograd.takes(64, 10)


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
        "maps, kernel, gradient = torch.load(sys.argv[1])\n"
        "maps.requires_grad_(), kernel.requires_grad_()\n"
        "winograd.convolve(maps, kernel).backward(gradient)\n"
        "torch.save((library().winograd_is_fast(), maps.grad, kernel.grad), sys.argv[1])\n"
    )
    given = draw((3, 32, 16, 5, 7))
    torch.save(given, tmp_path / "tensors.pt")
    environment = os.environ | {"CC": str(compiler), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    subprocess.run([sys.executable, script, tmp_path / "tensors.pt"], env=environment, check=True)
    fast, *found = torch.load(tmp_path / "tensors.pt")
    assert not fast
    for ours, reference in zip(found, exact(*given)[1:], strict=True):
        assert error(ours, reference) < 6e-3
