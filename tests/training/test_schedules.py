"""Schedules against Keras' own and torch's one-cycle, over 100 epochs."""

import keras
import pytest
import torch

from toynet.training import schedules
from toynet.training.spec import ScheduleSpec

EPOCHS, STEPS = 100, 4


def per_epoch(spec: ScheduleSpec) -> list[float]:
    rate = schedules.build(spec, epochs=EPOCHS, steps_per_epoch=STEPS)
    by_step = [rate(step) for step in range(EPOCHS * STEPS)]
    for epoch in range(EPOCHS):
        assert len(set(by_step[epoch * STEPS : (epoch + 1) * STEPS])) == 1
    return by_step[::STEPS]


def keras_values(schedule) -> list[float]:
    return [float(schedule(epoch)) for epoch in range(EPOCHS)]


def test_exponential_is_the_reports():
    theirs = keras.optimizers.schedules.ExponentialDecay(1.0, decay_steps=100, decay_rate=8e-3)
    assert per_epoch(ScheduleSpec(name="exponential", decay_rate=8e-3)) == pytest.approx(
        keras_values(theirs), abs=1e-6
    )


@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_cosine_is_the_reports(alpha: float):
    theirs = keras.optimizers.schedules.CosineDecay(1.0, decay_steps=100, alpha=alpha)
    assert per_epoch(ScheduleSpec(name="cosine", alpha=alpha)) == pytest.approx(
        keras_values(theirs), abs=1e-6
    )


@pytest.mark.parametrize(("period", "t_mul", "m_mul"), [(51, 1.0, 0.8), (10, 2.0, 0.5)])
def test_restarts_are_the_reports(period: int, t_mul: float, m_mul: float):
    theirs = keras.optimizers.schedules.CosineDecayRestarts(1.0, period, t_mul=t_mul, m_mul=m_mul, alpha=5e-3)
    spec = ScheduleSpec(name="cosine_restarts", period_epochs=period, t_mul=t_mul, m_mul=m_mul, alpha=5e-3)
    assert per_epoch(spec) == pytest.approx(keras_values(theirs), abs=1e-6)


def test_steps_are_keras_piecewise_constant():
    # Keras changes after the boundary, the report's tables at it.
    theirs = keras.optimizers.schedules.PiecewiseConstantDecay([39, 54], [1.0, 0.1, 0.01])
    spec = ScheduleSpec(name="step", boundaries_epochs=(40, 55), factors=(0.1, 0.01))
    assert per_epoch(spec) == pytest.approx(keras_values(theirs), abs=1e-7)


@pytest.mark.parametrize(("shape", "anneal"), [("cosine", "cos"), ("linear", "linear")])
def test_one_cycle_per_step_is_torchs(shape: str, anneal: str):
    # torch counts its phases over total_steps - 1 steps and ends on the last one, ours on the step after it.
    total = EPOCHS * STEPS
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        1.0,
        total_steps=total + 1,
        pct_start=(0.3 * total + 1) / (total + 1),
        anneal_strategy=anneal,
        cycle_momentum=False,
        div_factor=25,
        final_div_factor=1e9,
    )
    spec = ScheduleSpec(name="one_cycle", per="step", start=0.04, shape=shape)
    rate = schedules.build(spec, epochs=EPOCHS, steps_per_epoch=STEPS)
    for step in range(total):
        assert rate(step) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-6)
        optimizer.step()
        theirs.step()


def test_warm_up_rises_to_the_schedule_and_leaves_the_rest():
    plain = schedules.build(ScheduleSpec(name="cosine", per="step"), epochs=10, steps_per_epoch=10)
    warm = schedules.build(
        ScheduleSpec(name="cosine", per="step", warmup_epochs=2), epochs=10, steps_per_epoch=10
    )
    shares = [warm(step) / plain(step) for step in range(100)]
    assert shares[:20] == pytest.approx([(step + 1) / 20 for step in range(20)])
    assert shares[20:] == pytest.approx([1.0] * 80)


def test_the_report_stopped_a_hundred_epoch_cosine_at_fifty():
    spec = ScheduleSpec(name="cosine", period_epochs=100)
    stopped = schedules.build(spec, epochs=50, steps_per_epoch=1)
    assert stopped(49) == pytest.approx(schedules.build(spec, epochs=100, steps_per_epoch=1)(49))
    assert stopped(49) > 0.5


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"name": "step"}, "needs boundaries_epochs"),
        ({"boundaries_epochs": (1, 2), "factors": (0.1,)}, "equal lengths"),
        ({"boundaries_epochs": (2, 1), "factors": (0.1, 0.2)}, "must rise"),
    ],
)
def test_impossible_steps_are_refused(bad: dict, message: str):
    with pytest.raises(ValueError, match=message):
        ScheduleSpec(**bad)
