"""Where a step is computed. What needs a GPU is in `test_cuda.py`."""

import pytest
import torch

from toynet.training import precision


@pytest.mark.parametrize(("free_gib", "runs"), [(80, 26), (7.5, 2), (1, 1)])
def test_a_gpus_memory_bounds_how_many_runs_go_on_at_once(
    free_gib: float, runs: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (int(free_gib * 2**30), 2**37))
    assert precision.runs_with_room() == runs


def test_on_a_processor_cores_alone_decide(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(precision, "device", lambda: "cpu")
    assert precision.runs_with_room() is None


@pytest.mark.parametrize(
    ("device", "times_as_long", "expected"),
    [
        ("cpu", 200.0, ("fp32",)),
        ("cpu", 3.1, ("fp32",)),
        ("cpu", 2.9, ("fp32", "bf16")),
        ("cpu", 0.1, ("fp32", "bf16")),
        ("cuda", 200.0, ("fp32", "bf16")),
    ],
)
def test_bf16_is_promising_unless_a_processor_takes_much_longer_for_it(
    device: str, times_as_long: float, expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
):
    seconds = {torch.float32: 1e-3, torch.bfloat16: times_as_long * 1e-3}
    monkeypatch.setattr(precision, "_product_s", seconds.__getitem__)
    assert precision.promising.__wrapped__(device) == expected


@pytest.mark.parametrize(
    ("device", "known", "numbers"),
    [
        ("cpu", {"avx2", "avx512f", "avx512_bf16"}, torch.bfloat16),
        ("cpu", {"avx512f", "amx_bf16"}, torch.bfloat16),
        ("cpu", {"asimd", "bf16"}, torch.bfloat16),
        ("cpu", {"avx2", "avx512f"}, torch.float32),
        ("cpu", set(), torch.float32),
        ("cuda", set(), torch.bfloat16),
    ],
)
def test_coarse_numbers_are_those_that_the_processor_names(
    device: str, known: set[str], numbers, monkeypatch
):
    monkeypatch.setattr(precision, "flags", lambda: known)
    assert precision.coarse(device) == numbers


@pytest.mark.parametrize("numbers", precision.DTYPES.values(), ids=str)
def test_a_small_product_is_timed(numbers: torch.dtype):
    assert 0 < precision._product_s(numbers) < 1
