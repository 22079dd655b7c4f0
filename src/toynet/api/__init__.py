"""The verbs of the command line as functions; `toynet` re-exports them."""

from toynet.api.pages import report
from toynet.api.runs import Evaluation, Run, bench, diagnose, evaluate, open_run, preview, train
from toynet.api.studies import compare, final, rehearse, study
from toynet.studies.cluster import Cluster

__all__ = [
    "Cluster",
    "Evaluation",
    "Run",
    "bench",
    "compare",
    "diagnose",
    "evaluate",
    "final",
    "open_run",
    "preview",
    "rehearse",
    "report",
    "study",
    "train",
]
