"""The compiled functions against torch's own in double precision."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from toynet.kernels import maps as compiled
from toynet.kernels.build import obstacle

BF16, FP32 = torch.bfloat16, torch.float32
WHY_NOT = obstacle(torch.float32)
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=f"no compiled kernels: {WHY_NOT}")

both = pytest.mark.parametrize("numbers", [BF16, FP32], ids=str)
ACTIVATIONS = {"none": lambda z: z, "relu": torch.relu, "gelu": F.gelu}
SHAPES = [
    (6, 16, 7, 9),
    (3, 3, 5, 5),
    (2, 300, 8, 8),
    (2, 512, 4, 4),
    (5, 1, 3, 3),
    (64, 8, 1, 1),
    (1, 7, 2, 1),
]
FURTHEST = {BF16: (4e-3, 6e-3), FP32: (5e-7, 7e-7)}
"""The largest error of outputs and of gradients by maps, relative to their size."""


def draw(*shape: int, numbers=BF16, scale: float = 1.0, centre: float = 0.0) -> torch.Tensor:
    maps = (torch.randn(shape) * scale + centre).to(numbers)
    return maps.contiguous(memory_format=torch.channels_last)


def random_norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.3)
    nn.init.uniform_(norm.weight, -1.5, 1.5)
    nn.init.normal_(norm.bias)
    return norm


def distance(found: torch.Tensor, reference: torch.Tensor) -> float:
    found, reference = found.detach().double(), reference.detach().double()
    return float((found - reference).norm() / reference.norm().clamp(min=1e-9))


@both
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_norm_and_activation_and_their_gradients(shape, activation, threads, numbers):
    torch.manual_seed(0)
    maps = draw(*shape, numbers=numbers, scale=3.0, centre=2.0).requires_grad_()
    exact = maps.detach().double().requires_grad_()
    norm = random_norm(shape[1])
    reference = deepcopy(norm).double()
    gradient = draw(*shape, numbers=numbers)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    out = compiled.norm_act(maps, norm, activation)
    out.backward(gradient)
    torch.set_num_threads(before)
    expected = ACTIVATIONS[activation](reference(exact))
    expected.backward(gradient.double())

    assert out.dtype == maps.grad.dtype == numbers
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert distance(out, expected) < FURTHEST[numbers][0]
    # Of two numbers the gradients are differences of what is nearly the same.
    furthest = 2e-4 if numbers == FP32 and maps[:, 0].numel() == 2 else FURTHEST[numbers][1]
    assert distance(maps.grad, exact.grad) < furthest
    rtol, share = (5e-3, 2e-3) if numbers == BF16 else (0, 5e-6)
    for ours, torchs in ((norm.weight, reference.weight), (norm.bias, reference.bias)):
        atol = share * float(torchs.grad.abs().max())
        torch.testing.assert_close(ours.grad.double(), torchs.grad, rtol=rtol, atol=atol)
    torch.testing.assert_close(norm.running_mean.double(), reference.running_mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(norm.running_var.double(), reference.running_var, rtol=1e-4, atol=1e-4)
    assert norm.num_batches_tracked == reference.num_batches_tracked == 1


@both
def test_statistics_hold_where_the_mean_is_far_from_zero(numbers):
    torch.manual_seed(0)
    maps = draw(64, 4, 32, 32, numbers=numbers, scale=1.0, centre=100.0)
    norm = nn.BatchNorm2d(4, momentum=1.0)
    compiled.norm_act(maps, norm, "none")
    spread = maps.double().transpose(0, 1).flatten(1)
    torch.testing.assert_close(norm.running_mean.double(), spread.mean(1), rtol=1e-6, atol=0)
    torch.testing.assert_close(norm.running_var.double(), spread.var(1), rtol=1e-5, atol=0)


@both
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_evaluation_uses_the_averages_and_leaves_them(activation, numbers):
    torch.manual_seed(0)
    norm = random_norm(24).eval()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2.0)
    averages = norm.running_mean.clone(), norm.running_var.clone()
    maps = draw(3, 24, 5, 6, numbers=numbers)
    with torch.inference_mode():
        out = compiled.norm_act(maps, norm, activation)
        expected = ACTIVATIONS[activation](deepcopy(norm).double()(maps.double()))
    assert distance(out, expected) < FURTHEST[numbers][0]
    assert torch.equal(norm.running_mean, averages[0])
    assert torch.equal(norm.running_var, averages[1])
    assert norm.num_batches_tracked == 0


@both
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_what_is_carried_past_adds_its_gradient(activation, numbers):
    torch.manual_seed(0)
    given = draw(4, 40, 6, 6, numbers=numbers)
    norm = random_norm(40)
    one, other = given.clone().requires_grad_(), given.clone().requires_grad_()
    gradient, past = draw(4, 40, 6, 6, numbers=numbers), draw(4, 40, 6, 6, numbers=numbers)
    out, carried = compiled.norm_act_beside(one, deepcopy(norm), activation)
    assert torch.equal(carried, given)
    torch.autograd.backward([out, carried], [gradient, past])
    compiled.norm_act(other, deepcopy(norm), activation).backward(gradient)
    assert distance(one.grad, other.grad.double() + past.double()) < (5e-3 if numbers == BF16 else 1e-7)

    alone = given.clone().requires_grad_()
    compiled.norm_act_beside(alone, deepcopy(norm), activation)[1].backward(past)
    assert torch.equal(alone.grad, past)


def test_what_does_not_learn_gets_no_gradient():
    norm = random_norm(8)
    norm.weight.requires_grad_(False)
    compiled.norm_act(draw(2, 8, 4, 4), norm, "relu").sum().backward()
    assert norm.weight.grad is None
    assert norm.bias.grad.shape == (8,)


@both
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_so(activation, bad, numbers):
    maps = draw(2, 3, 4, 4, numbers=numbers)
    maps[0, 1, 2, 2] = bad
    out = compiled.norm_act(maps, nn.BatchNorm2d(3), activation)
    assert not out[:, 1].isfinite().any()
    assert out[:, [0, 2]].isfinite().all()


@pytest.mark.parametrize(("numbers", "most", "near"), [(BF16, 0.07, 0.01), (FP32, 1e-6, 1e-6)])
def test_a_large_gelu_does_not_leave_its_tail(numbers, most, near):
    norm = nn.BatchNorm2d(1, eps=1e-12).eval()
    maps = torch.linspace(-30, 30, 4096).to(numbers).view(1, 1, 64, 64)
    with torch.inference_mode():
        found, exact = compiled.norm_act(maps, norm, "gelu"), F.gelu(maps.double())
    assert (found.double() - exact).abs().max() < most, "half a step at 30"
    assert (found.double() - exact)[maps.abs() < 4].abs().max() < near


@both
@pytest.mark.parametrize("shape", [(3, 5, 7, 9), (2, 64, 31, 31), (2, 300, 8, 8), (4, 1, 2, 2)], ids=str)
def test_pooling_is_torchs_bit_for_bit(shape, numbers):
    torch.manual_seed(0)
    maps = (torch.randint(-3, 4, shape) / 2).to(numbers).contiguous(memory_format=torch.channels_last)
    maps[0, 0, 0, 1] = float("nan")
    ours, theirs = maps.clone().requires_grad_(), maps.clone().requires_grad_()
    out, expected = compiled.max_pool(ours), F.max_pool2d(theirs, 2)
    gradient = draw(*expected.shape, numbers=numbers)
    out.backward(gradient)
    expected.backward(gradient)
    torch.testing.assert_close(out, expected, rtol=0, atol=0, equal_nan=True)
    assert torch.equal(ours.grad, theirs.grad)


@both
def test_other_maps_are_refused(numbers, monkeypatch: pytest.MonkeyPatch):
    fit = draw(2, 8, 4, 4, numbers=numbers)
    assert compiled.takes(fit)
    assert not compiled.takes(fit.double())
    assert not compiled.takes(fit.half())
    assert not compiled.takes(fit.contiguous())
    assert not compiled.takes(fit[:, :, ::2])
    assert not compiled.takes(fit[0])
    assert not compiled.takes(torch.empty(0, 8, 4, 4, dtype=numbers))
    assert not compiled.takes(draw(1, compiled.MOST_CHANNELS + 1, 1, 1, numbers=numbers))
    assert not compiled.takes(fit.to("meta"))
    monkeypatch.setattr(compiled, "obstacle", {numbers: "no compiler"}.get)
    assert not compiled.takes(fit)


@both
def test_the_same_threads_give_the_same_bits(numbers):
    torch.manual_seed(0)
    maps, gradient = (draw(32, 16, 16, 16, numbers=numbers) for _ in range(2))

    def once() -> tuple[torch.Tensor, ...]:
        given, norm = maps.clone().requires_grad_(), nn.BatchNorm2d(16)
        out = compiled.norm_act(given, norm, "gelu")
        out.backward(gradient)
        return out, given.grad, norm.weight.grad, norm.running_var

    first = once()
    for _ in range(20):
        assert all(torch.equal(one, other) for one, other in zip(first, once(), strict=True))
