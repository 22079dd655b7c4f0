import numpy as np
import pytest
import torch

from toynet.core.errors import CheckpointError
from toynet.training.seen import Seen

ORDER = np.array([5, 3, 4, 0, 1, 2])


def test_images_that_were_never_seen_are_taken_before_any_other():
    seen = Seen()
    kept, before = seen.epoch(ORDER, 6, begun=False)
    assert kept.tolist() == ORDER.tolist()
    assert before.tolist() == [0] * 6
    seen.note(np.array([4, 1, 5]), torch.tensor([0.1, 7.0, 0.2]))
    kept, before = seen.epoch(ORDER, 4, begun=False)
    assert kept.tolist() == [3, 0, 1, 2]
    assert before[kept].tolist() == [1] * 4
    seen.note(kept, torch.zeros(4))
    assert seen.epoch(ORDER, 4, begun=True)[0].tolist() == [3, 0, 1, 2]
    kept, before = seen.epoch(ORDER, 3, begun=False)
    assert {4, 5} < set(kept.tolist())
    assert before[[4, 5]].tolist() == [1, 1]


def test_what_was_saved_comes_back_and_nothing_else_is_taken():
    seen, other = Seen(), Seen()
    seen.epoch(ORDER, 3, begun=False)
    other.restore(seen.tensors)
    seen.epoch(ORDER, 1, begun=False)
    assert other.tensors["left_out"].sum() == 3
    with pytest.raises(CheckpointError, match="loss, times and left_out"):
        other.restore({"loss": torch.zeros(5)})
