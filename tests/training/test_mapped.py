"""How images that lie in a file are read."""

import pytest
import torch

from toynet.training import mapped

IMAGES = torch.zeros(10, 8, 8, 1, dtype=torch.uint8)


@pytest.mark.parametrize(("available", "singly"), [(float("inf"), False), (1280.0, False), (1279.0, True)])
def test_images_that_memory_cannot_keep_are_read_singly(
    monkeypatch: pytest.MonkeyPatch, available: float, singly: bool
):
    advised = []
    monkeypatch.setattr(mapped, "available_bytes", lambda: available)
    monkeypatch.setattr(mapped, "read_singly", lambda *region: advised.append(region))
    mapped.prepare(IMAGES)
    assert advised == [(IMAGES.data_ptr(), 640)] * singly
