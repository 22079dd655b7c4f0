"""The curves of one arm over its seeds, beside those of another: three panels to stand inside a page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from toynet.core.records import EpochRecord
from toynet.reporting.curves import scale_rate
from toynet.reporting.inline import inline
from toynet.reporting.style import BLUE, GREY, VERMILION

Floats = NDArray[np.float64]

_SIZE_IN = (3.7, 2.5)
_LINES = ("train_accuracy", "val_accuracy", "train_loss", "val_loss", "lr")


@dataclass(frozen=True)
class Spread:
    """Curves of several seeds. `values`: (seeds, epochs) by kind, NaN where there is nothing to show.

    `lost` are those that diverged or failed; they count in no mean.
    """

    epochs: NDArray[np.int64]
    values: dict[str, Floats]
    lost: "Spread | None" = None

    @classmethod
    def of(
        cls, runs: Sequence[Sequence[EpochRecord]], lost: Sequence[Sequence[EpochRecord]] = ()
    ) -> "Spread | None":
        """None where no run has an epoch. Accuracies in percent."""
        last = max((row.epoch for records in runs for row in records), default=0)
        if not last:
            return cls.of(lost) if lost else None
        values = {line: np.full((len(runs), last), np.nan) for line in _LINES}
        for place, records in enumerate(runs):
            for row in records:
                for line in _LINES:
                    value = getattr(row, line)
                    if value is not None and np.isfinite(value):
                        values[line][place, row.epoch - 1] = value * (100 if "accuracy" in line else 1)
        return cls(np.arange(1, last + 1), values, cls.of(lost) if lost else None)

    @property
    def marker(self) -> str | None:
        """A dot an epoch where there are too few for lines."""
        return "o" if len(self.epochs) <= 2 else None

    def mean(self, line: str) -> Floats:
        """Over the seeds that have the epoch."""
        return _over_seeds(self.values[line], np.nanmean)

    def band(self, line: str) -> tuple[Floats, Floats]:
        """The lowest and the highest seed."""
        return _over_seeds(self.values[line], np.nanmin), _over_seeds(self.values[line], np.nanmax)


def _over_seeds(values: Floats, how: Callable[..., Floats]) -> Floats:
    found = np.full(values.shape[1], np.nan)
    known = ~np.isnan(values).all(axis=0)
    found[known] = how(values[:, known], axis=0)
    return found


def panels(ours: Spread, theirs: Spread | None, *, name: str, who: str, whom: str) -> tuple[str, ...]:
    """Accuracy, loss and learning rate as inline SVG. who, whom: the arms' names."""
    beside = f" beside {whom}" if theirs else ""
    told = {
        "accuracy": f"Accuracy of {who}{beside}, by epoch. {_ends(ours, who, 'val_accuracy', '%')}",
        "loss": f"Loss of {who}{beside}, by epoch. {_ends(ours, who, 'val_loss', 'nats')}",
        "rate": f"Learning rate of {who}{beside}, by epoch.",
    }

    def accuracy(figure: Figure) -> None:
        _pair(figure, "Accuracy (%)", ("train_accuracy", "val_accuracy"), ours, theirs)

    def loss(figure: Figure) -> None:
        _pair(figure, "Loss (nats)", ("train_loss", "val_loss"), ours, theirs)

    def rate(figure: Figure) -> None:
        axes = _panel(figure, "Learning rate", ours, theirs)
        if theirs:
            axes.plot(theirs.epochs, theirs.mean("lr"), color=GREY, lw=3.2, alpha=0.5, marker=theirs.marker)
        axes.plot(ours.epochs, ours.mean("lr"), color=BLUE, marker=ours.marker)
        both = [spread.values["lr"].ravel() for spread in (ours, theirs) if spread]
        known = np.concatenate(both)
        scale_rate(axes, known[~np.isnan(known)])

    drawings = (("accuracy", accuracy), ("loss", loss), ("rate", rate))
    return tuple(inline(draw, *_SIZE_IN, name=f"{name}-{kind}", told=told[kind]) for kind, draw in drawings)


def _ends(spread: Spread, who: str, line: str, unit: str) -> str:
    mean = spread.mean(line)
    known = mean[~np.isnan(mean)]
    return f"In the mean {who} ends at {known[-1]:.4g} {unit} of validation." if len(known) else ""


def _panel(figure: Figure, title: str, ours: Spread, theirs: Spread | None) -> Axes:
    axes = figure.subplots()
    axes.set_title(title)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    last = max(len(spread.epochs) for spread in (ours, theirs) if spread)
    room = max(0.3, 0.02 * last)
    axes.set_xlim(1 - room, last + room)
    return axes


def _pair(figure: Figure, title: str, lines: tuple[str, str], ours: Spread, theirs: Spread | None) -> None:
    axes = _panel(figure, title, ours, theirs)
    train, val = lines
    for spread, colour in ((theirs, GREY), (ours, BLUE)):
        if spread is None:
            continue
        low, high = spread.band(val)
        if len(spread.values[val]) > 1:
            axes.fill_between(spread.epochs, low, high, color=colour, alpha=0.2, lw=0)
        marker, dashes = spread.marker, (0, (2, 1.6))
        axes.plot(spread.epochs, spread.mean(train), color=colour, lw=1, ls=dashes, marker=marker, mfc="none")
        axes.plot(spread.epochs, spread.mean(val), color=colour, lw=1.9, marker=marker)
    if ours.lost:
        for curve in ours.lost.values[val]:
            axes.plot(ours.lost.epochs, curve, color=VERMILION, lw=1.1)
    shown = [spread for spread in (ours, theirs) if spread]
    if ours.lost and val == "val_accuracy":  # a loss that runs away would flatten all others
        shown.append(ours.lost)
    _frame(axes, lines, shown)


def _frame(axes: Axes, lines: tuple[str, str], spreads: Sequence[Spread]) -> None:
    """Fit the frame to all but the steep start: differences of a point are lost beside a rise of fifty."""
    later = [
        spread.values[line][:, len(spread.epochs) // 5 :].ravel() for spread in spreads for line in lines
    ]
    values = np.concatenate(later)
    values = values[~np.isnan(values)]
    if len(values) and values.max() > values.min():
        room = 0.05 * float(values.max() - values.min())
        axes.set_ylim(float(values.min()) - room, float(values.max()) + room)
