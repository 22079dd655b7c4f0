"""Scores as `compare` takes them, checked, in percent."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from toynet.core.errors import UsageError, did_you_mean
from toynet.stats.contrasts import Scores
from toynet.stats.intervals import Bits, lucky_spread
from toynet.stats.records import Looking
from toynet.stats.sequential import MOST_SEEDS

Unit = Literal["percent", "fraction"]

_PERCENT = 100.0
_ROUNDED = 0.06  # pp; scores are often kept to one decimal


@dataclass(frozen=True)
class Table:
    """Arms by seeds. A failed run's score is NaN; arms may have fewer seeds than the control."""

    control: str
    variants: tuple[str, ...]
    scores: Mapping[str, Scores]
    """Percent, (seeds,) an arm."""

    correct: Mapping[str, Bits] | None
    """(seeds, images) an arm, as many rows as scores."""

    @property
    def arms(self) -> tuple[str, ...]:
        return (self.control, *self.variants)

    def seeds(self, arms: Iterable[str]) -> int:
        """How many seeds all of `arms` have, failed runs included."""
        return min(len(self.scores[arm]) for arm in arms)

    def finished(self, arm: str, seeds: int) -> Bits:
        """(seeds,) whether the runs of the first `seeds` seeds have a score."""
        return np.isfinite(self.scores[arm][:seeds])

    def block(self, arms: Sequence[str], rows: Bits) -> Scores:
        """Scores (arms, chosen seeds); rows (seeds,) chooses among the first of them."""
        return np.stack([self.scores[arm][: len(rows)][rows] for arm in arms])

    def bits(self, arm: str, rows: Bits) -> Bits | None:
        """Which images were right (chosen seeds, images)."""
        return None if self.correct is None else self.correct[arm][: len(rows)][rows]

    def floor(self, arms: Sequence[str], rows: Bits) -> Scores | None:
        """The spread of each arm that luck with the test images makes, (arms,), pp."""
        bits = [self.bits(arm, rows) for arm in arms]
        return None if self.correct is None else np.array([lucky_spread(b) for b in bits if b is not None])


def read(
    scores: Mapping[str, Sequence[float | None] | Scores],
    *,
    control: str,
    plan: Looking,
    unit: Unit,
    correct: Mapping[str, ArrayLike] | None,
) -> Table:
    """Check and convert. Raises `UsageError` that names the arm and the seed."""
    if control not in scores:
        raise UsageError(f"there is no control {control!r} among the arms; {did_you_mean(control, scores)}")
    variants = tuple(arm for arm in scores if arm != control)
    if not variants:
        raise UsageError(f"there is nothing to compare with {control}; give at least one variant")
    if unit not in ("percent", "fraction"):
        raise UsageError(f"unit {unit!r}; {did_you_mean(str(unit), ('percent', 'fraction'))}")
    rows = {arm: _row(arm, values, unit) for arm, values in scores.items()}
    _check_lengths(rows, control, plan)
    _check_unit(rows, unit)
    table = Table(control, variants, rows, None if correct is None else _correct(correct, rows))
    if table.finished(control, len(rows[control])).sum() < 2:
        raise UsageError(
            f"the control {control} finished fewer than 2 runs; there is nothing to compare with"
        )
    return table


def chance(score: float | None, unit: Unit) -> float | None:
    """What guessing scores, in percent."""
    if score is None:
        return None
    percent = score * (_PERCENT if unit == "fraction" else 1.0)
    if not 0 <= percent <= _PERCENT:
        raise UsageError(f"chance {score:g} is no accuracy; give what guessing scores, in the unit of scores")
    return percent


def _row(arm: str, values: Any, unit: Unit) -> Scores:
    """One arm's scores in percent, NaN where the run failed."""
    if isinstance(values, str | bytes) or np.ndim(values) != 1:
        raise UsageError(f"arm {arm}: give a list of scores, one a seed")
    found = np.array([_score(arm, place, value) for place, value in enumerate(values)], np.float64)
    if not 2 <= len(found) <= MOST_SEEDS:
        raise UsageError(f"arm {arm} has {len(found)} seeds; give between 2 and {MOST_SEEDS}")
    return found * (_PERCENT if unit == "fraction" else 1.0)


def _score(arm: str, place: int, value: Any) -> float:
    if value is None:
        return np.nan
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        raise UsageError(f"arm {arm}: score {place} is {value!r}, not a number")
    if not np.isfinite(float(value)):
        raise UsageError(f"arm {arm}: score {place} is {value}; write None for a run that failed")
    return float(value)


def _check_lengths(rows: Mapping[str, Scores], control: str, plan: Looking) -> None:
    most = len(rows[control])
    for arm, row in rows.items():
        if len(row) > most or (len(row) < most and plan == "fixed"):
            raise UsageError(
                f"arm {arm} has {len(row)} scores and {control} {most}: position s holds seed s of every "
                "arm, None where the run failed"
            )


def _check_unit(rows: Mapping[str, Scores], unit: Unit) -> None:
    """Scores that are all at most 1 % are fractions in all likelihood, and a hundredfold error."""
    known = np.concatenate([row[np.isfinite(row)] for row in rows.values()])
    if len(known) and (known.min() < 0 or known.max() > _PERCENT):
        raise UsageError(f"accuracies lie between 0 and {'1' if unit == 'fraction' else '100'}; some do not")
    if unit == "percent" and len(known) and 0 < known.max() <= 1:
        raise UsageError("all scores are at most 1 %; if they are fractions, say unit='fraction'")


def _correct(correct: Mapping[str, ArrayLike], rows: Mapping[str, Scores]) -> dict[str, Bits]:
    if correct.keys() != rows.keys():
        raise UsageError(f"correct: give one array for each of {', '.join(rows)}")
    found = {arm: np.asarray(correct[arm]) for arm in rows}
    images = {bits.shape[-1] if bits.ndim else 0 for bits in found.values()}
    for arm, bits in found.items():
        if bits.dtype != np.bool_ or bits.ndim != 2 or len(bits) != len(rows[arm]):
            raise UsageError(
                f"correct of arm {arm}: give truth values ({len(rows[arm])} seeds, images), "
                f"got {bits.dtype} {bits.shape}"
            )
        if len(images) > 1 or bits.shape[1] < 2:
            raise UsageError("correct: all arms must have the same images, 2 at least")
        for seed, (score, right) in enumerate(zip(rows[arm], _PERCENT * bits.mean(1), strict=True)):
            if abs(score - right) > _ROUNDED:
                raise UsageError(
                    f"correct of arm {arm}: seed {seed} is right on {right:.2f} % of images, "
                    f"but its score is {score:.2f} %"
                )
    return found
