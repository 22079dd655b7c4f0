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
