"""The verbs of the command line as functions; `toynet` re-exports them."""

from toynet.api.pages import report
from toynet.api.pictures import Answer, load, predict
from toynet.api.runs import Evaluation, Run, bench, diagnose, evaluate, open_run, preview, train
from toynet.api.studies import compare, final, rehearse, study

__all__ = [
    "Answer",
    "Evaluation",
    "Run",
    "bench",
    "compare",
    "diagnose",
    "evaluate",
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
