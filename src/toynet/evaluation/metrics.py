"""Scores from logits, in NumPy: a page can be rebuilt from `predictions.npz` without torch.

torchmetrics computes the same and costs a second of import and torch; it serves as the tests' reference.
One deviation: a confidence of exactly 1 belongs to the last calibration bin, not to one of its own.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from toynet.core.errors import DataError
from toynet.core.records import Record

CALIBRATION_BINS = 15
TOP = 5

Logits = NDArray[np.floating]


class Metrics(Record):
    """Scores over one set of images. All but `loss` are fractions.

    `loss` is the mean cross-entropy in nats against the true labels, whatever loss was trained with. Logits
    that are not finite make it NaN, and `ece` with it; nothing is replaced.
    """

    n: int
    accuracy: float
    loss: float
    top5_accuracy: float | None
    """None where there are five classes or fewer."""

    macro_f1: float
    """Mean over the classes that occur among labels or predictions."""

    balanced_accuracy: float
    """Mean recall over the classes that occur among the labels."""

    ece: float
    """Expected calibration error, 15 bins of equal width (Guo et al. 2017, arXiv 1706.04599, section 2)."""


class ClassScore(Record):
    """One class against the rest. What would be 0/0 is none."""

    name: str
    n: int
    """Images of this class."""

    precision: float | None
    recall: float | None
    f1: float | None
    mistaken_for: str | None
    """The commonest wrong answer for its images; none when there is no mistake."""

    mistaken_share: float
    """The fraction of its images that got this answer."""


def measure(logits: Logits, labels: NDArray[np.integer]) -> Metrics:
    """Scores of `logits` (N, K) against `labels` (N,). Raises `DataError` when the two do not fit."""
    table = confusion(logits, labels)
    classes = table.shape[0]
    log_p = log_softmax(logits)
    right = table.diagonal()
    actual, predicted = table.sum(1), table.sum(0)
    present, seen = actual > 0, actual + predicted > 0
    return Metrics(
        n=len(labels),
        accuracy=float(right.sum() / len(labels)),
        loss=float(-log_p[np.arange(len(labels)), labels].mean()),
        top5_accuracy=_top_accuracy(logits, labels, TOP) if classes > TOP else None,
        macro_f1=float((2 * right[seen] / (actual + predicted)[seen]).mean()),
        balanced_accuracy=float((right[present] / actual[present]).mean()),
        ece=_calibration_error(log_p, labels),
    )


def per_class(logits: Logits, labels: NDArray[np.integer], classes: Sequence[str]) -> tuple[ClassScore, ...]:
    """One row a class, in the order of `classes` (K names)."""
    if len(classes) != logits.shape[1]:
        raise DataError(f"{len(classes)} class names do not fit logits of {logits.shape[1]} classes")
    table = confusion(logits, labels)
    rows = []
    for index, name in enumerate(classes):
        right, actual, predicted = table[index, index], table[index].sum(), table[:, index].sum()
        mistakes = np.where(np.arange(len(classes)) == index, 0, table[index])
        rival = int(mistakes.argmax())
        rows.append(
            ClassScore(
                name=name,
                n=int(actual),
                precision=_ratio(right, predicted),
                recall=_ratio(right, actual),
                f1=_ratio(2 * right, actual + predicted),
                mistaken_for=classes[rival] if mistakes[rival] else None,
                mistaken_share=_ratio(mistakes[rival], actual) or 0.0,
            )
        )
    return tuple(rows)


def confusion(logits: Logits, labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Counts (K, K): row = true class, column = predicted class (the first of equal logits)."""
    if logits.ndim != 2 or labels.shape != (len(logits),) or not len(labels):
        raise DataError(f"logits {logits.shape} and labels {labels.shape} must be (N, K) and (N,) with N > 0")
    classes = logits.shape[1]
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(f"labels {labels.min()}..{labels.max()} do not fit logits of {classes} classes")
    cells = labels.astype(np.int64) * classes + logits.argmax(1)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def log_softmax(logits: Logits) -> NDArray[np.float64]:
    """Log-probabilities (N, K) of `logits` (N, K), finite for every finite input."""
    with np.errstate(invalid="ignore"):
        shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)), np.float64)


def _top_accuracy(logits: Logits, labels: NDArray[np.integer], top: int) -> float:
    """Equal logits rank in class order, as in `confusion`."""
    ranked = np.argsort(-logits, axis=1, kind="stable")[:, :top]
    return float((ranked == labels[:, None]).any(1).mean())


def _calibration_error(log_p: NDArray[np.float64], labels: NDArray[np.integer]) -> float:
    """Sum over the bins of |correct - expected to be correct|, over N; bins are [low, high)."""
    confidence = np.exp(log_p.max(1))
    edges = np.linspace(0.0, 1.0, CALIBRATION_BINS + 1)[1:-1]
    bins = np.searchsorted(edges, confidence, side="right")
    excess = (log_p.argmax(1) == labels) - confidence
    return float(np.abs(np.bincount(bins, excess, CALIBRATION_BINS)).sum() / len(labels))


def _ratio(part: np.integer | int, whole: np.integer | int) -> float | None:
    return float(part / whole) if whole else None
