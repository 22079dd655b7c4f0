"""The compiled functions against torch's own in float32 and bf16."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from toynet.kernels import maps as compiled
from toynet.kernels.build import obstacle

pytestmark = pytest.mark.skipif(
    obstacle(torch.float32) is not None, reason=f"no compiled kernels: {obstacle(torch.float32)}"
)

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


BOTH = pytest.mark.parametrize("numbers", [torch.bfloat16, torch.float32], ids=str)


def draw(
    *shape: int, scale: float = 1.0, centre: float = 0.0, numbers: torch.dtype = torch.bfloat16
) -> torch.Tensor:
    drawn = (torch.randn(shape) * scale + centre).to(numbers)
    return drawn.contiguous(memory_format=torch.channels_last)


def random_norm(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.3)
    nn.init.uniform_(norm.weight, -1.5, 1.5)
    nn.init.normal_(norm.bias)
    return norm


def distance(found: torch.Tensor, reference: torch.Tensor) -> float:
    found, reference = found.detach().float(), reference.detach().float()
    return float((found - reference).norm() / reference.norm().clamp(min=1e-9))


@BOTH
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_norm_and_activation_and_their_gradients(shape, activation, threads, numbers):
    torch.manual_seed(0)
    maps = draw(*shape, scale=3.0, centre=2.0, numbers=numbers).requires_grad_()
    exact = maps.detach().float().requires_grad_()
    norm = random_norm(shape[1])
    reference = deepcopy(norm)
    gradient = draw(*shape, numbers=numbers)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    out = compiled.norm_act(maps, norm, activation)
    out.backward(gradient)
    torch.set_num_threads(before)
    expected = ACTIVATIONS[activation](reference(exact))
    expected.backward(gradient.float())

    assert out.dtype == numbers
    assert out.is_contiguous(memory_format=torch.channels_last)
    less = 1 if numbers == torch.bfloat16 else 1e-3
    assert distance(out, expected) < 4e-3 * less
    if numbers == torch.bfloat16:
        assert distance(maps.grad, exact.grad) < 6e-3
    else:  # of two rows nearly all cancels
        assert (maps.grad - exact.grad).norm() < 6e-6 * max(exact.grad.norm(), gradient.norm())
    for ours, torchs in ((norm.weight, reference.weight), (norm.bias, reference.bias)):
        torch.testing.assert_close(
            ours.grad, torchs.grad, rtol=5e-3 * less, atol=2e-3 * less * float(torchs.grad.abs().max())
        )
    torch.testing.assert_close(norm.running_mean, reference.running_mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(norm.running_var, reference.running_var, rtol=1e-4, atol=1e-4)
    assert norm.num_batches_tracked == reference.num_batches_tracked == 1


def test_statistics_hold_where_the_mean_is_far_from_zero():
    torch.manual_seed(0)
    maps = draw(64, 4, 32, 32, scale=1.0, centre=100.0)
    norm, reference = nn.BatchNorm2d(4, momentum=1.0), nn.BatchNorm2d(4, momentum=1.0)
    compiled.norm_act(maps, norm, "none")
    reference(maps.double().float())
    spread = maps.double().transpose(0, 1).flatten(1)
    torch.testing.assert_close(norm.running_mean.double(), spread.mean(1), rtol=1e-6, atol=0)
    torch.testing.assert_close(norm.running_var.double(), spread.var(1), rtol=1e-5, atol=0)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_evaluation_uses_the_averages_and_leaves_them(activation):
    torch.manual_seed(0)
    norm = random_norm(24).eval()
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2.0)
    averages = norm.running_mean.clone(), norm.running_var.clone()
    maps = draw(3, 24, 5, 6)
    with torch.inference_mode():
        out = compiled.norm_act(maps, norm, activation)
        expected = ACTIVATIONS[activation](norm(maps.float()))
    assert distance(out, expected) < 4e-3
    assert torch.equal(norm.running_mean, averages[0])
    assert torch.equal(norm.running_var, averages[1])
    assert norm.num_batches_tracked == 0


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_what_is_carried_past_adds_its_gradient(activation):
    torch.manual_seed(0)
    given = draw(4, 40, 6, 6)
    norm = random_norm(40)
    one, other = given.clone().requires_grad_(), given.clone().requires_grad_()
    gradient, past = draw(4, 40, 6, 6), draw(4, 40, 6, 6)
    out, carried = compiled.norm_act_beside(one, deepcopy(norm), activation)
    assert torch.equal(carried, given)
    torch.autograd.backward([out, carried], [gradient, past])
    compiled.norm_act(other, deepcopy(norm), activation).backward(gradient)
    assert distance(one.grad, other.grad.float() + past.float()) < 5e-3

    alone = given.clone().requires_grad_()
    compiled.norm_act_beside(alone, deepcopy(norm), activation)[1].backward(past)
    assert torch.equal(alone.grad, past)


def test_what_does_not_learn_gets_no_gradient():
    norm = random_norm(8)
    norm.weight.requires_grad_(False)
    compiled.norm_act(draw(2, 8, 4, 4), norm, "relu").sum().backward()
    assert norm.weight.grad is None
    assert norm.bias.grad.shape == (8,)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_so(activation, bad):
    maps = draw(2, 3, 4, 4)
    maps[0, 1, 2, 2] = bad
    out = compiled.norm_act(maps, nn.BatchNorm2d(3), activation)
    assert not out[:, 1].isfinite().any()
    assert out[:, [0, 2]].isfinite().all()


def test_a_large_gelu_does_not_leave_its_tail():
    norm = nn.BatchNorm2d(1, eps=1e-12).eval()
    numbers = torch.linspace(-30, 30, 4096).bfloat16().view(1, 1, 64, 64)
    with torch.inference_mode():
        found, exact = compiled.norm_act(numbers, norm, "gelu"), F.gelu(numbers.double())
    assert (found.double() - exact).abs().max() < 0.07, "half a bf16 step at 30"
    assert (found.double() - exact)[numbers.abs() < 4].abs().max() < 0.01


@BOTH
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


def test_other_maps_are_refused():
    fit = draw(2, 8, 4, 4)
    assert compiled.takes(fit)
    assert compiled.takes(fit.float())
    assert not compiled.takes(fit.double())
    assert not compiled.takes(fit.half())
    assert not compiled.takes(fit.contiguous())
    assert not compiled.takes(fit[:, :, ::2])
    assert not compiled.takes(fit[0])
    assert not compiled.takes(torch.empty(0, 8, 4, 4, dtype=torch.bfloat16))
    assert not compiled.takes(draw(1, compiled.MOST_CHANNELS + 1, 1, 1))
    assert not compiled.takes(fit.to("meta"))


def test_the_same_threads_give_the_same_bits():
    torch.manual_seed(0)
    maps, gradient = draw(32, 16, 16, 16), draw(32, 16, 16, 16)

    def once() -> tuple[torch.Tensor, ...]:
        given, norm = maps.clone().requires_grad_(), nn.BatchNorm2d(16)
        out = compiled.norm_act(given, norm, "gelu")
        out.backward(gradient)
        return out, given.grad, norm.weight.grad, norm.running_var

    first = once()
    for _ in range(20):
        assert all(torch.equal(one, other) for one, other in zip(first, once(), strict=True))
