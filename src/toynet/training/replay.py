"""Passes on a CUDA device that are recorded once and then replayed, as a CUDA graph.

Launching a kernel from Python takes some ten microseconds, and a small network's kernels take less than that
to run: a GPU waits for its processor nine tenths of the time. A recording is launched as a whole.
"""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


class Replayed(nn.Module):
    """Calls `model` in training, and replays what was recorded where the images have the same shape again.

    Only a shape that comes twice in a row is recorded, so an epoch's last and smaller batch is not. A replay
    overwrites the gradients of the one before: who adds up several must give `.grad` memory of its own.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._last: Hashable = None
        self._recorded: Hashable = None
        self._replay: Callable[[Tensor], Any] = model.__call__

    def forward(self, images: Tensor) -> Any:
        moment = self._moment(images)
        if moment == self._last != self._recorded:
            # First the old one goes, and leaves its memory to the new.
            self._replay, self._recorded = self.model.__call__, None
            self._replay, self._recorded = self._record(images), moment
        self._last = moment
        return self._replay(images) if moment == self._recorded else self.model(images)

    def _moment(self, images: Tensor) -> Hashable:
        """All that a recording depends on, but for values: parts may freeze while a model learns."""
        flags = tuple(part.training for part in self.model.modules())
        learns = tuple(weight.requires_grad for weight in self.model.parameters())
        return images.shape, images.stride(), flags, learns

    def _record(self, images: Tensor) -> Callable[[Tensor], Any]:
        """The passes forward and backward; they are made a few times, and leave no trace of that."""
        called = nn.Sequential(self.model)
        with torch.random.fork_rng(devices=[images.device]), _unchanged(self.model):
            torch.cuda.make_graphed_callables(called, (images.clone(),))
        # It stands in the place of `called.forward`, and refers to `called`: no cycle shall keep them.
        replay: Callable[[Tensor], Any] = called.__dict__.pop("forward")
        return replay


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Leave the statistics of batch norm as they were before."""
    kept = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for buffer, value in kept:
            buffer.copy_(value)
