import pytest

from toynet.training import choice
from toynet.training.choice import Timing, explain, fastest, time_setups
from toynet.training.setup import Setup


def setup(precision: str = "bf16", kernels: str = "direct", memory_format: str = "channels_last") -> Setup:
    return Setup(precision=precision, kernels=kernels, memory_format=memory_format, threads=1)


FP32, BF16, COMPILED, CONTIGUOUS = (
    setup("fp32"),
    setup(),
    setup(kernels="compiled"),
    setup(memory_format="contiguous"),
)


def timings(**seconds: float) -> list[Timing]:
    known = {"fp32": FP32, "bf16": BF16, "compiled": COMPILED, "contiguous": CONTIGUOUS}
    return [Timing(setup=known[name], seconds=value) for name, value in seconds.items()]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({"fp32": 1.0, "bf16": 0.5}, BF16),
        ({"fp32": 1.0, "bf16": 0.97}, FP32),
        ({"fp32": 1.0, "bf16": 3.0}, FP32),
        ({"fp32": 1.0, "bf16": 0.97, "compiled": 0.94}, COMPILED),
        ({"fp32": 1.0, "bf16": 0.5, "compiled": 0.495}, BF16),
        ({"compiled": 0.4, "bf16": 0.5, "fp32": 1.0}, COMPILED),
        ({"bf16": 1.0, "contiguous": 0.99, "compiled": 0.97}, COMPILED),
        ({"bf16": 1.0, "contiguous": 0.9, "compiled": 0.97}, CONTIGUOUS),
    ],
)
def test_a_bolder_setup_must_be_clearly_faster(seconds: dict, expected: Setup):
    assert fastest(timings(**seconds)).setup == expected


class Stopwatch:
    """Step times by set-up, and a clock that they move."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **seconds: list[float]) -> None:
        known = {"fp32": FP32, "bf16": BF16, "compiled": COMPILED}
        self.times = {known[name]: list(values) for name, values in seconds.items()}
        self.asked: list[Setup] = []
        self.now = 0.0
        monkeypatch.setattr(choice.time, "perf_counter", lambda: self.now)

    def __call__(self, what: Setup) -> float:
        self.asked.append(what)
        seconds = self.times[what].pop(0)
        self.now += seconds
        return seconds

    def race(self) -> dict[Setup, float]:
        return {timing.setup: timing.seconds for timing in time_setups(list(self.times), self)}


def test_the_best_of_five_rounds_in_turn_counts(monkeypatch):
    watch = Stopwatch(monkeypatch, fp32=[0.4, 0.17, 0.3, 0.21, 0.3], bf16=[0.12, 0.16, 0.2, 0.15, 0.2])
    assert watch.race() == {FP32: 0.17, BF16: 0.12}
    assert watch.asked == [FP32, BF16] * 5


def test_what_is_hopeless_is_dropped_after_its_second_chance(monkeypatch):
    watch = Stopwatch(
        monkeypatch, fp32=[0.4, 0.31], bf16=[0.2, 0.15, 0.1, 0.1, 0.1], compiled=[0.2, 0.2, 0.14, 0.1, 0.1]
    )
    assert watch.race() == {FP32: 0.31, BF16: 0.1, COMPILED: 0.1}
    assert watch.asked.count(FP32) == 2


def test_what_is_hopeless_beyond_doubt_gets_no_second_chance_where_steps_are_long(monkeypatch):
    watch = Stopwatch(monkeypatch, fp32=[4.0], bf16=[1.1] * 3, compiled=[1.0] * 3)
    assert watch.race() == {FP32: 4.0, BF16: 1.1, COMPILED: 1.0}


def test_a_race_ends_when_one_is_left(monkeypatch):
    watch = Stopwatch(monkeypatch, fp32=[0.9, 0.9], bf16=[0.4, 0.1])
    assert watch.race() == {FP32: 0.9, BF16: 0.1}


def test_long_steps_are_timed_three_times(monkeypatch):
    watch = Stopwatch(monkeypatch, fp32=[1.0] * 3, bf16=[0.9] * 3)
    watch.race()
    assert watch.asked == [FP32, BF16] * 3


def test_the_reason_names_the_times():
    found = explain(BF16, timings(fp32=1.0, bf16=0.45, compiled=0.5))
    assert found == (
        "a step takes 450 ms; 500 in bf16, compiled kernels, channels_last; "
        "1000 in fp32, direct kernels, channels_last"
    )
