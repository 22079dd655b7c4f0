"""From an interval and a margin to words that may be quoted."""

import numpy as np

from toynet.stats.records import Interval, Verdict

LEAST_MARGIN = 0.2
SHARE_OF_ERROR = 0.03

_FINE = 0.05


def margin_for(control_score: float) -> float:
    """The difference (pp) from which on it matters: 3 % of the control's error, 0.2 pp at least."""
    return max(LEAST_MARGIN, SHARE_OF_ERROR * (100 - control_score))


def verdict(interval: Interval, margin: float) -> Verdict:
    """The word for a difference (pp) whose interval is this."""
    low, high = interval.low, interval.high
    if low > margin:
        return "helps"
    if high < -margin:
        return "hurts"
    if low >= -margin and high <= margin:
        return "no meaningful difference" if low <= 0 <= high else "real but too small to matter"
    if low > 0:
        return "helps (size uncertain)"
    if high < 0:
        return "hurts (size uncertain)"
    return "undecided"


def words(verdict: Verdict, further_seeds: int | None) -> str:
    """The verdict with what it would take to reach one."""
    if verdict != "undecided" or further_seeds is None:
        return verdict
    return f"undecided — about {further_seeds} more {'seed' if further_seeds == 1 else 'seeds'}"


def sentence(
    difference: float, interval: Interval, *, seeds: int, improvement: float, smallest_visible: float
) -> str:
    """`+0.41 pp [+0.12, +0.70], 12 seeds, better in 88 % of pairings; smallest visible effect 0.38.`"""
    digits = 2 if interval.high - interval.low >= 2 * _FINE else 3
    low, high = (f"{bound:+.{digits}f}" for bound in (interval.low, interval.high))
    seen = (
        "no effect is visible yet"
        if np.isinf(smallest_visible)
        else f"smallest visible effect {smallest_visible:.{digits}f}"
    )
    return (
        f"{difference:+.{digits}f} pp [{low}, {high}], {seeds} seeds, "
        f"better in {100 * improvement:.0f} % of pairings; {seen}."
    )
