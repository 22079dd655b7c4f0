"""The report's three panels: accuracy, loss and learning rate against the epoch."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from toynet.core.errors import UsageError
from toynet.core.records import EpochRecord
from toynet.reporting.style import BLUE, GREY, VERMILION, canvas, printable

Series = NDArray[np.float64]


def draw_curves(records: Sequence[EpochRecord], path: Path, title: str) -> None:
    """Draw a run's epochs; the best validation epoch (highest accuracy, the first of equals) is marked.

    Validation is left out where it was not measured; values that are not finite leave a gap. The learning
    rate has a logarithmic axis when it spans more than a decade, the loss when it spans three. Raises
    `UsageError` without records.
    """
    if not records:
        raise UsageError(f"{path}: there are no epochs to draw")
    epochs = np.array([record.epoch for record in records])
    train_accuracy = 100 * _series(records, lambda record: record.train_accuracy)
    val_accuracy = 100 * _series(records, lambda record: record.val_accuracy)
    train_loss = _series(records, lambda record: record.train_loss)
    val_loss = _series(records, lambda record: record.val_loss)
    rate = _series(records, lambda record: record.lr)
    best = None if np.isnan(val_accuracy).all() else int(np.nanargmax(val_accuracy))

    with canvas(path, 11, 3.5) as figure:
        figure.suptitle(printable(title, 120), x=0.008, ha="left", fontweight="bold")
        accuracy, loss, learning_rate = figure.subplots(1, 3)
        for axes, name, train, val in (
            (accuracy, "Accuracy (%)", train_accuracy, val_accuracy),
            (loss, "Loss (nats)", train_loss, val_loss),
        ):
            _panel(axes, name, epochs)
            _line(axes, epochs, train, BLUE, "-", "train")
            _line(axes, epochs, val, VERMILION, "--", "validation")
            if best is not None:
                axes.plot(epochs[best], val[best], "o", ms=10, mfc="none", mec=VERMILION, mew=1.4)
        _scale_loss(loss, train_loss, val_loss)
        _panel(learning_rate, "Learning rate", epochs)
        _line(learning_rate, epochs, rate, GREY, "-", "learning rate")
        scale_rate(learning_rate, rate)
        handles, names = accuracy.get_legend_handles_labels()
        if best is not None:
            for axes in (accuracy, loss, learning_rate):
                mark = axes.axvline(float(epochs[best]), color=VERMILION, lw=0.9, ls=":")
            handles.append(mark)
            names.append(f"best validation: {val_accuracy[best]:.2f} %, epoch {epochs[best]}")
        figure.legend(handles, names, loc="outside lower left", ncols=len(names))


def _series(records: Sequence[EpochRecord], value: Callable[[EpochRecord], float | None]) -> Series:
    values = [value(record) for record in records]
    series = np.array([np.nan if number is None else number for number in values], dtype=np.float64)
    return np.where(np.isfinite(series), series, np.nan)


def _panel(axes: Axes, name: str, epochs: NDArray[np.int64]) -> None:
    axes.set_title(name)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    room = max(0.5, 0.03 * float(epochs[-1] - epochs[0]))
    axes.set_xlim(float(epochs[0]) - room, float(epochs[-1]) + room)


def _line(axes: Axes, epochs: NDArray[np.int64], values: Series, colour: str, dash: str, name: str) -> None:
    """Short or broken series get a dot an epoch, as a line between one point is nothing."""
    measured = ~np.isnan(values)
    if not measured.any():
        return
    marker = "o" if measured.sum() <= 12 else None
    axes.plot(epochs[measured], values[measured], color=colour, ls=dash, marker=marker, label=name)


def _scale_loss(axes: Axes, *losses: Series) -> None:
    """A logarithmic axis where losses span more than three decades, as those of a run that went astray do."""
    every = np.concatenate(losses)
    positive = every[every > 0]
    if len(positive) and positive.max() > 1e3 * positive.min():
        _logarithmic(axes, positive)


def scale_rate(axes: Axes, rate: Series) -> None:
    """A logarithmic axis where the rate spans more than a decade, else one from zero."""
    positive = rate[rate > 0]
    if len(positive) and positive.max() > 10 * positive.min():
        _logarithmic(axes, positive)
    else:
        axes.set_ylim(0, 1.1 * float(np.nanmax(rate, initial=0)) or 1)
        axes.yaxis.set_major_formatter(_short)


def _logarithmic(axes: Axes, positive: Series) -> None:
    axes.set_yscale("log", nonpositive="mask")
    wide = positive.max() > 100 * positive.min()
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(_short)


def _short(value: float, place: float) -> str:
    """A tick's label; those of matplotlib would need its mathematics, which is off."""
    return f"{value:.3g}"
