import pytest
import torch
from torch.nn import functional as F

from toynet.kernels import pointwise
from toynet.kernels.build import obstacle
from toynet.kernels.windows import Windows

pytestmark = pytest.mark.skipif(
    obstacle(torch.float32) is not None, reason=f"no compiled kernels: {obstacle(torch.float32)}"
)

SHAPES = [
    # images, channels, filters, height, width
    (5, 16, 32, 16, 16),
    (3, 48, 16, 7, 9),
    (1, 16, 16, 1, 1),
    (2, 32, 176, 3, 140),
]


@pytest.mark.parametrize("numbers", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_torchs_convolution_and_its_gradients_are_added(
    shape, stride: int, threads: int, numbers: torch.dtype, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    images, channels, filters, height, width = shape
    torch.manual_seed(0)

    def draw(*size: int) -> torch.Tensor:
        return torch.randn(size).to(numbers).contiguous(memory_format=torch.channels_last)

    maps, kernel = draw(images, channels, height, width), torch.randn(filters, channels, 1, 1)
    exact, taps = maps.double().requires_grad_(), kernel.double().requires_grad_()
    expected = F.conv2d(exact, taps, stride=stride)
    tall, wide = expected.shape[2:]
    gradient, before = draw(*expected.shape), draw(*maps.shape)
    expected.backward(gradient.double())

    windows = Windows(tall, wide, side=1, stride=stride, top=0, left=0)
    found = pointwise.convolve(maps, kernel, windows)
    by_maps = before.clone()
    by_kernel = pointwise.add_gradients(maps, kernel, windows, gradient, by_maps)

    # Kernel and what is summed over are numbers as those of the maps.
    off = 1e-2 if numbers == torch.bfloat16 else 1e-6
    for ours, theirs in [(found, expected), (by_maps, before + exact.grad), (by_kernel, taps.grad)]:
        assert ours.shape == theirs.shape
        assert (ours - theirs).norm() < off * theirs.norm()
    untouched = torch.ones(height, width, dtype=torch.bool)
    untouched[::stride, ::stride] = False
    assert torch.equal(by_maps[..., untouched], before[..., untouched])
