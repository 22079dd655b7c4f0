"""ToyNet: a lab bench for convolutional image classifiers.

import toynet

run = toynet.train("quick", seed=3)
run.result.test_accuracy
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toynet import stats
    from toynet.api import (
        Answer,
        Cluster,
        Evaluation,
        Run,
        bench,
        compare,
        diagnose,
        evaluate,
        export,
        final,
        load,
        open_run,
        predict,
        preview,
        rehearse,
        report,
        study,
        train,
    )
    from toynet.core.errors import ToyNetError
    from toynet.exporting.records import Export
    from toynet.runs.classifier import Classifier, Prediction
    from toynet.runs.recipe import Recipe
    from toynet.speed.records import BenchResult
    from toynet.studies.folder import Account

__all__ = [
    "Account",
    "Answer",
    "BenchResult",
    "Classifier",
    "Cluster",
    "Evaluation",
    "Export",
    "Prediction",
    "Recipe",
    "Run",
    "ToyNetError",
    "bench",
    "compare",
    "diagnose",
    "evaluate",
    "export",
    "final",
    "load",
    "open_run",
    "predict",
    "preview",
    "rehearse",
    "report",
    "stats",
    "study",
    "train",
]

_ROOMS = {"stats"}
_HOMES = {
    "Account": "toynet.studies.folder",
    "BenchResult": "toynet.speed.records",
    "Classifier": "toynet.runs.classifier",
    "Export": "toynet.exporting.records",
    "Prediction": "toynet.runs.classifier",
    "Recipe": "toynet.runs.recipe",
    "ToyNetError": "toynet.core.errors",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `toynet --help` need not wait for torch."""
    if name not in __all__:
        raise AttributeError(f"module 'toynet' has no attribute {name!r}")
    if name in _ROOMS:
        return import_module(f"toynet.{name}")
    return getattr(import_module(_HOMES.get(name, "toynet.api")), name)


def __dir__() -> list[str]:
    return __all__
