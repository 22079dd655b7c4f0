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


@pytest.mark.parametrize(("bf16_s", "found"), [(2e-4, True), (2.9e-3, True), (3.1e-3, False), (0.2, False)])
def test_bf16_is_promising_unless_its_products_are_hopeless(
    bf16_s: float, found: bool, monkeypatch: pytest.MonkeyPatch
):
    seconds = {torch.float32: 1e-3, torch.bfloat16: bf16_s}
    monkeypatch.setattr(precision, "_product_s", seconds.__getitem__)
    assert precision.promising.__wrapped__("cpu") == (("fp32", "bf16") if found else ("fp32",))
    assert precision.promising.__wrapped__("cuda") == ("fp32", "bf16")


def test_small_products_are_timed():
    assert 0 < precision._product_s(torch.float32) < 1
