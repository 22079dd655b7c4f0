"""Parts of a model that stop learning before training ends.

Brock et al. 2017, "FreezeOut" (arXiv:1706.04983): early layers converge first, and a backward pass that
need not reach them is cheaper. A part goes through the whole schedule of
the learning rate in its share of training (`optimizers.set_rate`); then its batch norm uses, and keeps, its
moving statistics.
"""

from collections.abc import Mapping

from torch import nn

from toynet.core.errors import UsageError, did_you_mean


def check(model: nn.Module, parts: Mapping[str, float]) -> None:
    """Raise `UsageError` unless every name of `parts` is one of the model's outermost parts."""
    known = [name for name, _ in model.named_children()]
    for name in parts:
        if name not in known:
            raise UsageError(f"train.freeze: the model has no part {name!r}; {did_you_mean(name, known)}")


def freeze(model: nn.Module, parts: Mapping[str, float], progress: float) -> None:
    """Freeze what is due: `parts` maps names to shares of training, `progress` is the share that is done.

    To be called before every step, after `model.train()`.
    """
    for name, share in parts.items():
        if progress >= share:
            part = model.get_submodule(name).eval()
            part.requires_grad_(False)
