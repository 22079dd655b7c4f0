import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas import DataFrame
from scipy import stats as reference
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from toynet.stats import contrasts


def block(arms: int, seeds: int, seed: int = 0, rho: float = 0.4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shared = np.sqrt(rho) * rng.standard_normal(seeds)
    return 92 + 0.3 * (shared + np.sqrt(1 - rho) * rng.standard_normal((arms, seeds)))


@pytest.mark.parametrize("seeds", [2, 3, 5, 12])
@pytest.mark.parametrize("judge", [contrasts.pooled, contrasts.own, contrasts.fit])
def test_one_variant_is_the_paired_t_test(seeds, judge):
    scores = block(2, seeds)
    fitted, expected = judge(scores), reference.ttest_rel(scores[1], scores[0])
    assert fitted.difference[0] / fitted.error[0] == pytest.approx(expected.statistic, rel=1e-9)
    assert fitted.df == expected.df


@pytest.mark.parametrize(("arms", "seeds"), [(2, 5), (4, 3), (6, 10)])
def test_pooling_is_the_two_way_analysis_of_variance(arms, seeds):
    scores = block(arms, seeds, seed=3)
    arm, seed = np.indices(scores.shape)
    frame = DataFrame({"score": scores.ravel(), "arm": arm.ravel(), "seed": seed.ravel()})
    model = ols("score ~ C(arm) + C(seed)", data=frame).fit()
    fitted = contrasts.pooled(scores)
    labels = [f"C(arm)[T.{number}]" for number in range(1, arms)]
    np.testing.assert_allclose(fitted.difference, model.params[labels], rtol=1e-9)
    np.testing.assert_allclose(fitted.error, model.bse[labels], rtol=1e-9)
    assert fitted.df == model.df_resid
    left = anova_lm(model, typ=2).loc["Residual"]
    assert contrasts.residual(scores) ** 2 == pytest.approx(left.sum_sq / left.df, rel=1e-9)


def test_every_pair_alone_is_a_paired_t_test():
    scores = block(5, 7, seed=1) * np.array([1, 1, 3, 1, 2])[:, None]
    fitted = contrasts.own(scores)
    expected = [reference.ttest_rel(row, scores[0]) for row in scores[1:]]
    np.testing.assert_allclose(fitted.difference / fitted.error, [e.statistic for e in expected], rtol=1e-9)
    assert fitted.df == 6


def test_arms_that_differ_in_spread_are_not_pooled():
    even = block(4, 20, seed=2, rho=0)
    assert contrasts.fit(even).pooled
    louder = even.copy()
    louder[0] = even[0].mean() + 2.6 * (even[0] - even[0].mean())
    assert not contrasts.fit(louder).pooled
    np.testing.assert_array_equal(contrasts.fit(louder).error, contrasts.own(louder).error)


def test_levene_sees_what_the_twofold_rule_misses():
    rng = np.random.default_rng(0)
    scores = 92 + 0.3 * np.array([[1.0], [1.0], [1.6]]) * rng.standard_normal((3, 60))
    sigma = scores.std(1, ddof=1)
    assert sigma.max() < 2 * sigma.min()
    assert reference.levene(*scores, center="median").pvalue < 0.05
    assert contrasts.unequal(scores)


def test_two_seeds_do_not_upset_levene():
    assert not contrasts.unequal(np.array([[92.0, 92.4], [92.1, 92.6], [92.3, 92.0]]))


def test_the_floor_only_widens():
    scores = block(4, 6, seed=4)
    for judge in (contrasts.pooled, contrasts.own):
        plain = judge(scores)
        low, high = judge(scores, np.full(4, 1e-3)), judge(scores, np.full(4, 5.0))
        np.testing.assert_array_equal(low.error, plain.error)
        assert not low.raised.any()
        assert high.raised.all()
        np.testing.assert_allclose(high.error, 5.0 * np.sqrt(2 / 6))


def test_the_correlation_is_covariance_over_variance():
    scores = block(4, 9, seed=5)
    table = np.cov(scores)
    between = table[~np.eye(4, dtype=bool)].mean()
    assert contrasts.correlation(scores) == pytest.approx(between / table.diagonal().mean(), rel=1e-9)
    assert contrasts.correlation(np.full((3, 5), 90.0)) is None


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(3, 9))
def test_blocks_fall_out_and_swapping_arms_flips_signs(seed, arms, seeds):
    scores, rng = block(arms, seeds, seed), np.random.default_rng(seed + 1)
    order, shift = rng.permutation(seeds), 3 * rng.standard_normal(seeds)
    for judge in (contrasts.pooled, contrasts.own):
        plain = judge(scores)
        for other in (judge(scores[:, order]), judge(scores + shift)):
            np.testing.assert_allclose(other.difference, plain.difference, atol=1e-9)
            np.testing.assert_allclose(other.error, plain.error, rtol=1e-6)
        swapped = judge(scores[[1, 0, *range(2, arms)]])
        assert swapped.difference[0] == pytest.approx(-plain.difference[0], abs=1e-9)
        assert swapped.error[0] == pytest.approx(plain.error[0], rel=1e-9)


def test_rounding_is_no_spread():
    same = np.array([92.1, 92.3, 92.7, 92.2, 92.6])
    shifted = np.stack([same, same + 0.1, same + 0.2])
    assert contrasts.pooled(shifted).error.tolist() == [0, 0]
    assert contrasts.own(shifted).error.tolist() == [0, 0]
