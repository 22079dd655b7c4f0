import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from toynet.stats.multiplicity import holm


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_agrees_with_statsmodels(p):
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], rtol=1e-9, atol=1e-12)


def test_nothing_to_adjust():
    assert holm([]).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.integers(1, 7))
def test_part_of_a_family_is_never_adjusted_less_than_within_the_whole(p, size):
    part = p[: min(size, len(p) - 1)]
    assert (holm(part, family=len(p)) >= holm(p)[: len(part)] - 1e-15).all()
    np.testing.assert_allclose(holm([*part, 1.0], family=len(p))[:-1], holm(part, family=len(p)))


def test_one_of_a_family_is_multiplied_by_its_size():
    assert holm([0.01], family=4).tolist() == [0.04]
