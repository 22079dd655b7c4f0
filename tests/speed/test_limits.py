import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from toynet.core.reporter import Silent
from toynet.runs import subject
from toynet.runs.recipe import Recipe
from toynet.runs.setups import with_setup
from toynet.speed import convolutions, images, limits
from toynet.speed.clock import repeat, rounds
from toynet.training.setup import Setup


def test_the_limit_is_the_best_product_and_in_fp32_the_best_convolution_too(monkeypatch):
    seconds = iter([4.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.001])
    monkeypatch.setattr(limits, "_rate", lambda work, *_: work[1] / next(seconds))
    monkeypatch.setattr(limits, "SIZES", (8, 16, 32))
    found = limits.limits("cpu", 1.0)
    largest = 2 * 32**3 / 1e9
    convolution = 2 * 128 * 16 * 16 * 128 * 128 * 9 / 1e9
    assert [rate.what for rate in found.rates][::3] == ["matrix product 8", "convolution 3x3, 128 channels"]
    assert found.fp32_gflops == pytest.approx(convolution)
    assert found.bf16_gflops == found.of("bf16") == pytest.approx(largest)
    assert found.rates[0].fp32_gflops == pytest.approx(2 * 8**3 / 4e9)


def test_sizes_that_would_take_too_long_are_left_out(monkeypatch):
    monkeypatch.setattr(limits, "SIZES", (64, 2048, 8192))
    found = limits.limits("cpu", 1e-3)
    for precision in ("fp32_gflops", "bf16_gflops"):
        rates = [getattr(rate, precision) for rate in found.rates]
        assert rates[0] > 0
        assert rates[2] is None


def test_repetitions_keep_to_their_bounds():
    calls = []
    assert len(repeat(lambda: calls.append(1), "cpu", seconds=0, fewest=3, most=9)) == 3
    assert len(calls) == 4
    assert len(repeat(lambda: None, "cpu", seconds=60, fewest=1, most=5)) == 5
    assert list(rounds(0, 2)) == [0, 1]


@pytest.mark.parametrize("kernels", ["direct", "compiled"])
@pytest.mark.parametrize(
    ("name", "widths", "precision"),
    [
        ("toynet12", [4, 4, 8, 8], "bf16"),
        ("pure_resnet50", [4, 4, 8, 8], "bf16"),
        ("toynet12", [16, 16, 16, 16], "fp32"),
    ],
)
def test_the_arithmetic_of_convolutions_is_what_torch_counts(kernels, name, widths, precision, monkeypatch):
    setup = Setup(precision=precision, kernels=kernels, memory_format="channels_last", threads=1)
    changes = {
        "model.name": name,
        "model.widths": widths,
        "train.batch_size": 6,
        "train.micro_batch": 4,
    }
    recipe = with_setup(Recipe.load("quick", changes), setup)
    card = images.card(recipe.data, None, Silent())
    timed = []
    monkeypatch.setattr(convolutions, "repeat", lambda work, *_, **__: timed.append(work()) or [1.0])
    gflop = convolutions.convolution_rate(recipe, card, 0.0) * len(timed)
    model = subject.build_model(recipe, card)
    with FlopCounterMode(display=False) as counter:
        features = model.features(torch.randn(4, 3, 32, 32))
        features.sum().backward()
    assert gflop * 1e9 == pytest.approx(counter.get_total_flops())
