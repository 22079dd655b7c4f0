import pytest

from toynet.speed.advice import _sizes, advice
from toynet.speed.records import MicroBatch, Spread
from toynet.training.spec import TrainSpec

LINUX = {"system": "Linux x86_64", "flags": ["avx2", "avx512_bf16"]}


def on_micro_batches(*times: tuple[int, float]) -> tuple[str, ...]:
    found = tuple(MicroBatch(images=images, ms=ms) for images, ms in times)
    return advice(found, device="cpu", environment=LINUX)


def test_a_faster_micro_batch_is_told_with_its_gain_and_its_price():
    (line,) = on_micro_batches((2000, 100.0), (1000, 80.0), (500, 75.0), (250, 90.0))
    assert "micro-batches of 500 images would take 25 % less time than 2000" in line
    assert "batch-norm statistics" in line
    assert line.endswith("--set train.micro_batch=500")


def test_where_nothing_is_gained_nothing_is_said():
    assert on_micro_batches((128, 100.0), (64, 97.0)) == ()
    assert on_micro_batches() == ()


@pytest.mark.parametrize(
    ("batch", "micro", "sizes"),
    [
        (2000, None, [2000, 1000, 500, 250]),
        (128, None, [128, 64, 32]),
        (128, 50, [50, 128, 64, 32]),
        (32, None, [32]),
    ],
)
def test_the_sizes_are_the_one_in_use_and_halves_of_the_batch(
    batch: int, micro: int | None, sizes: list[int]
):
    assert _sizes(TrainSpec(batch_size=batch, micro_batch=micro)) == sizes


@pytest.mark.parametrize(
    ("device", "environment", "told"),
    [
        ("cpu", {"system": "Linux x86_64", "flags": ["avx2", "avx512f"]}, True),
        ("cpu", {"system": "Linux aarch64", "flags": ["asimd", "bf16"]}, False),
        ("cpu", {"system": "Darwin arm64", "flags": []}, False),
        ("cuda", {"system": "Linux x86_64", "flags": ["avx2"]}, False),
    ],
)
def test_a_processor_without_bf16_is_told(device: str, environment: dict, told: bool):
    assert (
        any("no bf16 instructions" in line for line in advice((), device=device, environment=environment))
        == told
    )


def test_a_spread_is_median_and_quartiles():
    assert Spread.of([3.0]) == Spread(median=3.0, lower=3.0, upper=3.0)
    assert Spread.of([5.0, 1.0, 2.0, 4.0, 3.0]) == Spread(median=3.0, lower=2.0, upper=4.0)
