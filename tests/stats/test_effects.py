import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as reference

from toynet.stats import effects

ROUGH = st.integers(900, 930).map(lambda tenths: tenths / 10)  # one decimal: ties are common


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 12).flatmap(lambda n: st.tuples(*[st.lists(ROUGH, min_size=n, max_size=n)] * 2)))
def test_improvement_is_mann_and_whitneys_u(arms):
    variant, control = map(np.array, arms)
    share, interval = effects.improvement(variant, control)
    u = reference.mannwhitneyu(variant, control, method="asymptotic").statistic
    assert share == pytest.approx(u / len(variant) ** 2, abs=1e-9)
    assert 0 <= interval.low <= share <= interval.high <= 1
    mirrored, other = effects.improvement(control, variant)
    assert mirrored == pytest.approx(1 - share)
    assert (other.low, other.high) == pytest.approx((1 - interval.high, 1 - interval.low))


def test_the_improvements_interval_solves_newcombes_equation():
    variant, control = np.array([3.0, 5, 6, 7, 9]), np.array([1.0, 2, 4, 8, 10])
    share, interval = effects.improvement(variant, control)
    for bound in (interval.low, interval.high):
        q1, q2 = bound / (2 - bound), 2 * bound**2 / (1 + bound)
        # Newcombe's method 5 puts half of both sizes less one, here 4, in Hanley and McNeil's variance.
        exact = (bound * (1 - bound) + 4 * (q1 - bound**2) + 4 * (q2 - bound**2)) / 25
        assert abs(share - bound) == pytest.approx(reference.norm.isf(0.025) * np.sqrt(exact), rel=1e-6)


def test_winning_every_pairing_is_no_certainty():
    share, interval = effects.improvement(np.arange(5.0) + 10, np.arange(5.0))
    assert (share, interval.high) == (1, 1)
    assert 0.5 < interval.low < 0.9


def test_further_seeds_are_the_fewest_round_number_that_settles():
    def critical(seeds):
        return float(reference.t.isf(0.025, seeds - 1))

    found = effects.further_seeds(0.4, 0.3, critical, seeds=5)
    before = effects.ROUND_NUMBERS[effects.ROUND_NUMBERS.index(found) - 1]
    assert critical(5 + found) * 0.4 / np.sqrt(5 + found) <= 0.15
    assert critical(5 + before) * 0.4 / np.sqrt(5 + before) > 0.15
    assert effects.further_seeds(1e6, 0.2, critical, seeds=5) is None
    assert list(effects.ROUND_NUMBERS) == sorted(effects.ROUND_NUMBERS)
