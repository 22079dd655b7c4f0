"""ToyNet: a lab bench for convolutional image classifiers.

import toynet

run = toynet.train("quick", seed=3)
run.result.test_accuracy
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toynet import stats
    from toynet.api.benching import bench
    from toynet.api.copies import Copy, copies
    from toynet.api.data import DataInfo, info
    from toynet.api.diagnosis import diagnose
    from toynet.api.evaluation import Evaluation, evaluate
    from toynet.api.exports import export
    from toynet.api.fetching import fetch
    from toynet.api.pages import report
    from toynet.api.pictures import Answer, load, predict
    from toynet.api.previews import preview
    from toynet.api.run import Run, open_run
    from toynet.api.studies import compare, final, rehearse, study
    from toynet.api.trainable import architecture, architectures, recipes
    from toynet.api.training import train
    from toynet.core.errors import ToyNetError
    from toynet.exporting.records import Export
    from toynet.models.cost import ModelCost
    from toynet.runs.classifier import Classifier, Prediction
    from toynet.runs.recipe import Recipe
    from toynet.serving.entry import serve
    from toynet.speed.records import BenchResult
    from toynet.studies.cluster import Cluster
    from toynet.studies.folder import Account

__all__ = [
    "Account",
    "Answer",
    "BenchResult",
    "Classifier",
    "Cluster",
    "Copy",
    "DataInfo",
    "Evaluation",
    "Export",
    "ModelCost",
    "Prediction",
    "Recipe",
    "Run",
    "ToyNetError",
    "architecture",
    "architectures",
    "bench",
    "compare",
    "copies",
    "diagnose",
    "evaluate",
    "export",
    "fetch",
    "final",
    "info",
    "load",
    "open_run",
    "predict",
    "preview",
    "recipes",
    "rehearse",
    "report",
    "serve",
    "stats",
    "study",
    "train",
]

_HOMES = {
    "Account": "studies.folder",
    "Answer": "api.pictures",
    "BenchResult": "speed.records",
    "Classifier": "runs.classifier",
    "Cluster": "studies.cluster",
    "Copy": "api.copies",
    "DataInfo": "api.data",
    "Evaluation": "api.evaluation",
    "Export": "exporting.records",
    "ModelCost": "models.cost",
    "Prediction": "runs.classifier",
    "Recipe": "runs.recipe",
    "Run": "api.run",
    "ToyNetError": "core.errors",
    "architecture": "api.trainable",
    "architectures": "api.trainable",
    "bench": "api.benching",
    "compare": "api.studies",
    "copies": "api.copies",
    "diagnose": "api.diagnosis",
    "evaluate": "api.evaluation",
    "export": "api.exports",
    "fetch": "api.fetching",
    "final": "api.studies",
    "info": "api.data",
    "load": "api.pictures",
    "open_run": "api.run",
    "predict": "api.pictures",
    "preview": "api.previews",
    "recipes": "api.trainable",
    "rehearse": "api.studies",
    "report": "api.pages",
    "serve": "serving.entry",
    "stats": "",
    "study": "api.studies",
    "train": "api.training",
}


def __getattr__(name: str) -> Any:
    """Import on first use and no more than that: `toynet --help` need not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module 'toynet' has no attribute {name!r}")
    if not _HOMES[name]:
        return import_module(f"toynet.{name}")
    return getattr(import_module(f"toynet.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
