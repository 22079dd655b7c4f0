"""Where intervals and dots lie on a strip, in percent of its width, so that a page can stretch it freely."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator

from toynet.reporting.words import MINUS, signed
from toynet.stats.records import Contrast, Interval

_ROOM = 0.04
"""Of the span, left free at both ends."""


@dataclass(frozen=True)
class Tick:
    place: float
    text: str


@dataclass(frozen=True)
class Axis:
    """From values to percent of the width. What lies outside is drawn at the edge."""

    low: float
    high: float
    ticks: tuple[Tick, ...]

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 2)


@dataclass(frozen=True)
class Span:
    """A stretch of the axis; `left` and `right` tell that it goes on beyond the edge."""

    start: float
    end: float
    left: bool = False
    right: bool = False

    @property
    def width(self) -> float:
        return round(self.end - self.start, 2)


@dataclass(frozen=True)
class Strip:
    """One comparison on the axis of differences."""

    zero: float
    band: Span
    interval: Span
    wider: Span | None
    point: float
    seeds: tuple[float, ...]
    axis: Axis


@dataclass(frozen=True)
class Pair:
    """One seed: where the run compared with lies, and the run itself."""

    seed: int
    before: float
    after: float
    tone: str


@dataclass(frozen=True)
class Pairs:
    """All seeds of one comparison on the axis of scores."""

    pairs: tuple[Pair, ...]
    mean_before: float
    mean_after: float
    better: int
    worse: int
    axis: Axis


def axis(values: Iterable[float], *, difference: bool, ticks: int = 6) -> Axis:
    """An axis that holds all finite values, with round numbers as ticks."""
    finite = [value for value in values if np.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (-1.0, 1.0)
    room = _ROOM * (high - low) or 0.5
    low, high = low - room, high + room
    places = MaxNLocator(ticks, steps=[1, 2, 5, 10]).tick_values(low, high)
    step = float(places[1] - places[0])
    digits = max(0, -int(np.floor(np.log10(step) + 1e-9)))
    blank = Axis(low, high, ())
    shown = [float(value) for value in places if low <= value <= high]
    texts = [
        signed(value, digits) if difference else f"{value:.{digits}f}".replace("-", MINUS) for value in shown
    ]
    return Axis(low, high, tuple(Tick(blank.at(v), text) for v, text in zip(shown, texts, strict=True)))


def span(interval: Interval, along: Axis) -> Span:
    return Span(
        along.at(interval.low), along.at(interval.high), interval.low < along.low, interval.high > along.high
    )


def strip(contrast: Contrast, margin: float, seeds: Sequence[float], along: Axis) -> Strip:
    """seeds: the difference of every pair."""
    return Strip(
        zero=along.at(0.0),
        band=span(Interval(low=-margin, high=margin), along),
        interval=span(contrast.interval, along),
        wider=span(contrast.new_images, along) if contrast.new_images else None,
        point=along.at(contrast.difference),
        seeds=tuple(along.at(value) for value in seeds),
        axis=along,
    )


def pairs(scores: Sequence[tuple[int, float, float]], along: Axis) -> Pairs:
    """scores: seed, score of the arm compared with, score of the arm; at least one."""
    before, after = (float(np.mean([row[place] for row in scores])) for place in (1, 2))
    return Pairs(
        pairs=tuple(
            Pair(seed, along.at(old), along.at(new), "good" if new > old else "bad" if new < old else "even")
            for seed, old, new in scores
        ),
        mean_before=along.at(before),
        mean_after=along.at(after),
        better=sum(new > old for _, old, new in scores),
        worse=sum(new < old for _, old, new in scores),
        axis=along,
    )
