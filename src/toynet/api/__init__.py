"""The verbs of the command line as functions; `toynet` re-exports them."""

from toynet.api.evaluation import Evaluation, evaluate
from toynet.api.exports import export
from toynet.api.pages import report
from toynet.api.pictures import Answer, load, predict
from toynet.api.runs import Run, bench, diagnose, open_run, preview, train
from toynet.api.studies import compare, final, rehearse, study
from toynet.studies.cluster import Cluster

__all__ = [
    "Answer",
    "Cluster",
    "Evaluation",
    "Run",
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
    "study",
    "train",
]
