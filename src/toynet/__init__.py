"""ToyNet: a lab bench for convolutional image classifiers.

import toynet

run = toynet.train("quick", seed=3)
run.result.test_accuracy
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toynet.api import Evaluation, Run, diagnose, evaluate, open_run, preview, train
    from toynet.core.errors import ToyNetError
    from toynet.runs.recipe import Recipe

__all__ = [
    "Evaluation",
    "Recipe",
    "Run",
    "ToyNetError",
    "diagnose",
    "evaluate",
    "open_run",
    "preview",
    "train",
]

_HOMES = {"ToyNetError": "toynet.core.errors", "Recipe": "toynet.runs.recipe"}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `toynet --help` need not wait for torch."""
    if name not in __all__:
        raise AttributeError(f"module 'toynet' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "toynet.api")), name)


def __dir__() -> list[str]:
    return __all__
