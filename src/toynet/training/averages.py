"""An exponential moving average of the weights, batch-norm statistics included."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Follows a model: average = decay * average + (1 - decay) * weights, after every step.

    The decay starts low, min(decay, (1 + steps) / (10 + steps)), so that the random start is forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.tensors = {name: value.detach().clone() for name, value in _floats(model).items()}

    @torch.no_grad()
    def update(self, model: nn.Module, steps: int) -> None:
        """Take in the weights after step number `steps`."""
        decay = min(self.decay, (1 + steps) / (10 + steps))
        current = _floats(model)
        averages = list(self.tensors.values())
        torch._foreach_lerp_(averages, [current[name] for name in self.tensors], 1 - decay)

    def restart(self, model: nn.Module) -> None:
        """Forget what was averaged and go on from the model's weights."""
        _copy(self.tensors, _floats(model))

    def write_into(self, model: nn.Module) -> None:
        """Give the model the averaged weights for good."""
        _copy(_floats(model), self.tensors)

    @contextmanager
    def swapped_into(self, model: nn.Module) -> Iterator[None]:
        """Give the model the averaged weights for the length of the block."""
        current = _floats(model)
        kept = {name: value.detach().clone() for name, value in current.items()}
        try:
            self.write_into(model)
            yield
        finally:
            _copy(current, kept)


@torch.no_grad()
def _copy(targets: dict[str, Tensor], sources: dict[str, Tensor]) -> None:
    for name, target in targets.items():
        target.copy_(sources[name])


def _floats(model: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
