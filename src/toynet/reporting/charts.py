"""How a classifier did on labelled images: confusion, precision and recall, calibration."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from toynet.core.errors import UsageError
from toynet.evaluation.metrics import CALIBRATION_BINS as BINS
from toynet.reporting.style import BLUE, GREY, PALE, VERMILION, canvas, place, printable

Matrix = NDArray[np.int64]

MOST_NUMBERED = 20
"""Classes up to which a confusion matrix shows its numbers."""


def draw_confusion(matrix: Matrix, classes: Sequence[str], path: Path) -> None:
    """Draw counts `matrix` (K, K), rows true and columns predicted, as percentages of each row.

    The colour scale follows the square root, so that confusions of a few per cent are seen next to a strong
    diagonal. Rows without images stay empty.
    """
    count = len(classes)
    totals = matrix.sum(axis=1, keepdims=True)
    share = 100 * np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    side = min(max(0.46 * count, 2.4), 9.5)
    letter = min(8.5, 0.75 * 72 * side / count)
    names = [printable(name, 16) for name in classes]
    flat = count <= 12 and max(map(len, names)) <= 3
    margin = 0.55 + max(map(len, names)) * letter * 0.6 / 72
    below = 0.7 if flat else margin
    with canvas(path, margin + side + 1.1, below + side + 0.65, arrange=False) as figure:
        axes = place(figure, margin, below, side, side)
        axes.grid(False)
        picture = axes.imshow(share, cmap="Blues", norm=PowerNorm(0.5, 0, 100), interpolation="nearest")
        axes.set_xticks(range(count), names, rotation=0 if flat else 90, fontsize=letter)
        axes.set_yticks(range(count), names, fontsize=letter)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.set_title(f"Confusion, % of each true class\n{_summary(matrix)}")
        scale = place(figure, margin + side + 0.2, below, 0.16, side)
        bar = figure.colorbar(picture, cax=scale, ticks=[0, 1, 5, 10, 25, 50, 100])
        bar.outline.set_visible(False)
        if count <= MOST_NUMBERED:
            _number(axes, share)


def _summary(matrix: Matrix) -> str:
    total = int(matrix.sum())
    if not total:
        return "no images"
    return f"{100 * np.trace(matrix) / total:.2f} % of {total:,} images right"


def _number(axes: Axes, share: NDArray[np.float64]) -> None:
    decimals = 1 if len(share) <= 10 else 0
    least = 10**-decimals
    for (row, column), value in np.ndenumerate(share):
        if value == 0:
            continue
        text = f"{value:.{decimals}f}" if value >= least else f"<{least:g}"
        colour = "white" if value > 35 else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=colour)


def draw_per_class(matrix: Matrix, classes: Sequence[str], path: Path) -> None:
    """Draw precision and recall of each class from counts `matrix` (K, K), the lowest recall on top.

    A class without images has no recall, one that is never predicted no precision; both are said.
    """
    hits = np.diag(matrix).astype(float)
    missing = np.full(len(classes), np.nan)
    recall = 100 * np.divide(hits, matrix.sum(axis=1), out=missing.copy(), where=matrix.sum(axis=1) > 0)
    precision = 100 * np.divide(hits, matrix.sum(axis=0), out=missing.copy(), where=matrix.sum(axis=0) > 0)
    order = np.argsort(np.nan_to_num(recall, nan=-1), kind="stable")
    recall, precision = recall[order], precision[order]
    rows = np.arange(len(classes))
    pitch = 0.27 if len(classes) <= 30 else 0.17
    with canvas(path, 6.5, pitch * len(classes) + 1.5) as figure:
        axes = figure.subplots()
        axes.hlines(rows, np.fmin(recall, precision), np.fmax(recall, precision), color=PALE, lw=2.5)
        axes.plot(precision, rows, "D", mfc="white", mec=VERMILION, mew=1.4, ms=5, label="precision")
        axes.plot(recall, rows, "o", color=BLUE, ms=6, label="recall")
        if not np.isnan(recall).all():
            mean = float(np.nanmean(recall))
            axes.axvline(mean, color=BLUE, lw=1, ls=":", label=f"mean recall {mean:.1f} %")
        names = [printable(classes[index]) for index in order]
        axes.set_yticks(rows, names, fontsize=8.5 if pitch > 0.2 else 7)
        axes.set_ylim(len(classes) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("%")
        axes.set_title("Precision and recall, lowest recall first")
        for row in rows[np.isnan(recall) | np.isnan(precision)]:
            remarks = [
                remark
                for values, remark in ((recall, "no images"), (precision, "never predicted"))
                if np.isnan(values[row])
            ]
            axes.annotate(
                ", ".join(remarks), (1, row), xycoords=("axes fraction", "data"), xytext=(-4, 0),
                textcoords="offset points", ha="right", va="center", fontsize=7.5, color=GREY,
            )  # fmt: skip
        figure.legend(loc="outside lower left", ncols=3)


@dataclass(frozen=True)
class Reliability:
    """Accuracy against confidence, in `BINS` equal bins of confidence; arrays are over the filled ones."""

    counts: NDArray[np.int64]
    """Images in every bin, empty ones included."""

    believed: NDArray[np.float64]
    true: NDArray[np.float64]

    @property
    def here(self) -> NDArray[np.int64]:
        return self.counts[self.counts > 0]

    @property
    def error(self) -> float:
        """Expected calibration error: the mean gap, weighted by the bins' counts."""
        return float(np.sum(self.here * np.abs(self.true - self.believed)) / self.counts.sum())


def reliability(probabilities: NDArray[np.floating], labels: NDArray[np.int64]) -> Reliability:
    """From `probabilities` (N, K) and `labels` (N,); confidence is the highest probability.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 2.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    bins = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], confidence, side="right")
    counts = np.bincount(bins, minlength=BINS)
    here = np.fmax(counts, 1)
    believed, true = (np.bincount(bins, values, BINS) / here for values in (confidence, right))
    return Reliability(counts, believed[counts > 0], true[counts > 0])


def draw_calibration(probabilities: NDArray[np.floating], labels: NDArray[np.int64], path: Path) -> None:
    """Draw accuracy against confidence; see `reliability`. Raises `UsageError` for no images."""
    if not len(labels):
        raise UsageError(f"{path}: there are no predictions to draw")
    found = reliability(probabilities, labels)
    with canvas(path, 5.2, 5.8) as figure:
        calibration(figure, found)
        figure.axes[0].legend(loc="upper left")
        figure.axes[0].set_title(f"Calibration: expected error {100 * found.error:.2f} % (ECE, {BINS} bins)")


def calibration(figure: Figure, found: Reliability) -> None:
    """The curve with Wilson's 95 % intervals, and below it how many images each bin holds."""
    low, high = _wilson(found.true, found.here)
    curve, histogram = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    curve.plot([0, 100], [0, 100], ls="--", lw=1, color=GREY, label="perfect calibration")
    curve.vlines(100 * found.believed, 100 * low, 100 * high, color=BLUE, lw=1.2, alpha=0.55)
    curve.plot(100 * found.believed, 100 * found.true, "o-", color=BLUE, label="this model, 95 % intervals")
    curve.set_ylim(-2, 102)
    curve.set_ylabel("accuracy (%)")
    centres = 100 * (np.arange(BINS) + 0.5) / BINS
    histogram.bar(centres, found.counts, 0.88 * 100 / BINS, color=PALE, edgecolor=GREY, linewidth=0.6)
    for centre, number in zip(centres[found.counts > 0], found.here, strict=True):
        histogram.annotate(
            _short(int(number)), (centre, number), xytext=(0, 2), textcoords="offset points",
            ha="center", fontsize=7, color=GREY,
        )  # fmt: skip
    histogram.margins(y=0.2)
    histogram.set_xlim(-1, 101)
    histogram.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    histogram.set_ylabel("images")
    histogram.set_xlabel("confidence: highest probability (%)")


def _wilson(
    share: NDArray[np.float64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson's 95 % interval of a proportion (JASA 22, 1927), clear of the normal one's fault at 0 and 1."""
    square = 1.96**2 / counts
    middle = (share + square / 2) / (1 + square)
    half = np.sqrt(share * (1 - share) * square + square**2 / 4) / (1 + square)
    return middle - half, middle + half


def _short(number: int) -> str:
    return str(number) if number < 10_000 else f"{number / 1000:.0f}k"
