import pytest
import torch
from torch.nn import functional as F

from toynet.kernels.build import obstacle
from toynet.kernels.windows import Windows

pytestmark = pytest.mark.skipif(
    obstacle(torch.float32) is not None, reason=f"no compiled kernels: {obstacle(torch.float32)}"
)

CASES = [
    # images, channels, height, width, side, stride, top, left, bottom, right
    (3, 16, 4, 4, 3, 1, 1, 1, 1, 1),
    (2, 5, 6, 7, 3, 2, 0, 1, 1, 1),
    (2, 8, 8, 8, 3, 2, 0, 0, 1, 1),
    (2, 300, 5, 3, 3, 1, 1, 1, 1, 1),
    (1, 4, 1, 1, 3, 1, 1, 1, 1, 1),
    (2, 7, 9, 6, 1, 2, 0, 0, 0, 0),
    (2, 3, 4, 4, 1, 1, 0, 0, 0, 0),
]


@pytest.mark.parametrize("numbers", [torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_gather_is_torchs_unfold_and_fold_its_gradient(case, numbers):
    images, channels, height, width, side, stride, top, left, bottom, right = case
    torch.manual_seed(0)
    maps = torch.randn(images, channels, height, width).to(numbers)
    maps = maps.contiguous(memory_format=torch.channels_last)
    exact = maps.float().requires_grad_()
    unfolded = F.unfold(F.pad(exact, (left, right, top, bottom)), side, stride=stride)
    patches = unfolded.view(images, channels, side * side, -1).permute(0, 3, 2, 1).flatten(2).flatten(0, 1)
    tall, wide = (height + top + bottom - side) // stride + 1, (width + left + right - side) // stride + 1
    windows = Windows(tall, wide, side=side, stride=stride, top=top, left=left)

    rows = windows.gather(maps)
    assert torch.equal(rows.float(), patches)

    gradient = torch.randn_like(patches).to(numbers)
    patches.backward(gradient.float())
    folded = windows.fold(gradient, maps.shape)
    assert folded.is_contiguous(memory_format=torch.channels_last)
    off = 4e-3 if numbers == torch.bfloat16 else 1e-6
    torch.testing.assert_close(folded.float(), exact.grad, rtol=off, atol=off)
