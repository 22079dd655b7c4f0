"""Learning rates as pure functions of time, in multiples of `optim.lr`.

The shapes are Keras' (`ExponentialDecay`, `CosineDecay`, `CosineDecayRestarts`), which the report used,
and the one-cycle policy of Smith (arXiv 1803.09820, arXiv 1708.07120).
"""

import math
from collections.abc import Callable

from toynet.training.spec import ScheduleSpec

Schedule = Callable[[int], float]


def build(spec: ScheduleSpec, *, epochs: int, steps_per_epoch: int) -> Schedule:
    """A function from the number of steps done to the multiple of `optim.lr` for the next one.

    With `per = "epoch"` the multiple holds through each epoch, as Keras' epoch schedulers have it.
    Warm-up multiplies whatever the schedule says, and ends at the schedule's own value.
    """
    length = spec.period_epochs or float(epochs)

    def multiple(step: int) -> float:
        whole = step // steps_per_epoch
        now, unit = (
            (float(whole), 1.0) if spec.per == "epoch" else (step / steps_per_epoch, 1 / steps_per_epoch)
        )
        warmup = min(1.0, (now + unit) / spec.warmup_epochs) if spec.warmup_epochs else 1.0
        return warmup * shape(spec, now, length)

    return multiple


def shape(spec: ScheduleSpec, epoch: float, length: float) -> float:
    """The multiple of `optim.lr` at `epoch` (fractions allowed) for a schedule `length` epochs long."""
    match spec.name:
        case "constant":
            return 1.0
        case "step":
            passed = [f for b, f in zip(spec.boundaries_epochs, spec.factors, strict=True) if epoch >= b]
            return passed[-1] if passed else 1.0
        case "exponential":
            return float(spec.decay_rate ** (epoch / length))
        case "cosine":
            return _cosine(min(epoch / length, 1.0), 1.0, spec.alpha)
        case "cosine_restarts":
            return _restarts(epoch, length, spec)
        case "one_cycle":
            return _one_cycle(min(epoch / length, 1.0), spec)


def _cosine(progress: float, top: float, bottom: float) -> float:
    return bottom + (top - bottom) * 0.5 * (1 + math.cos(math.pi * progress))


def _restarts(epoch: float, first_period: float, spec: ScheduleSpec) -> float:
    start, period, height = 0.0, first_period, 1.0
    while epoch - start >= period:
        start += period
        period *= spec.t_mul
        height *= spec.m_mul
    return (1 - spec.alpha) * _cosine((epoch - start) / period, height, 0.0) + spec.alpha


def _one_cycle(progress: float, spec: ScheduleSpec) -> float:
    if progress < spec.peak_fraction:
        done, low, high = progress / spec.peak_fraction, spec.start, 1.0
    else:
        done, low, high = (progress - spec.peak_fraction) / (1 - spec.peak_fraction), 1.0, spec.alpha
    if spec.shape == "cosine":
        return _cosine(done, low, high)
    return low + (high - low) * done
