"""The verbs of the command line as functions; `toynet` re-exports them."""

from toynet.api.evaluation import Evaluation, evaluate
from toynet.api.exports import export
from toynet.api.pages import report
from toynet.api.runs import Run, bench, diagnose, open_run, preview, train
from toynet.api.studies import compare, final, rehearse, study

__all__ = [
    "Evaluation",
    "Run",
    "bench",
    "compare",
    "diagnose",
    "evaluate",
    "export",
    "final",
    "open_run",
    "preview",
    "rehearse",
    "report",
    "study",
    "train",
]
