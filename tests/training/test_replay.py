"""When passes are recorded and when they are replayed. What a recording computes is in `test_cuda.py`."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from toynet.training.replay import Replayed

WHOLE, LAST = torch.zeros(8, 3, 4, 4), torch.zeros(5, 3, 4, 4)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is called, in order."""
    calls: list[str] = []

    def record(self: Replayed, images: Tensor) -> Callable[[Tensor], Tensor]:
        calls.append(f"record {len(images)}")
        return lambda images: calls.append(f"replay {len(images)}") or images

    monkeypatch.setattr(Replayed, "_record", record)
    return calls


def network(calls: list[str]) -> nn.Sequential:
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2))
    model.register_forward_pre_hook(lambda _, inputs: calls.append(f"call {len(inputs[0])}"))
    return model


def test_a_shape_that_comes_twice_in_a_row_is_recorded_and_one_that_comes_once_is_not(told: list[str]):
    replayed = Replayed(network(told))
    for images in (WHOLE, WHOLE, WHOLE, LAST, WHOLE, LAST, WHOLE):
        replayed(images)
    assert told == ["call 8", "record 8", "replay 8", "replay 8", "call 5", "replay 8", "call 5", "replay 8"]


def test_a_part_that_freezes_and_another_memory_order_are_recorded_anew(told: list[str]):
    model = network(told)
    replayed = Replayed(model)
    for _ in range(2):
        replayed(WHOLE)
    model[1].eval()
    for _ in range(2):
        replayed(WHOLE)
    model[0].requires_grad_(False)
    for _ in range(2):
        replayed(WHOLE)
    for _ in range(2):
        replayed(WHOLE.contiguous(memory_format=torch.channels_last))
    assert told == ["call 8", "record 8", "replay 8"] * 4
