import numpy as np
import pytest
from scipy import stats as reference
from statsmodels.stats.power import TTestPower

from toynet.core.errors import UsageError
from toynet.stats import power


@pytest.mark.parametrize(("effect", "seeds"), [(0.3, 5), (0.5, 10), (0.1, 40)])
def test_one_variant_has_the_power_of_the_paired_t_test(effect, seeds):
    expected = TTestPower().power(effect / 0.3 / np.sqrt(2), seeds, 0.025, alternative="larger")
    assert power.power(effect, sigma=0.3, seeds=seeds) == pytest.approx(expected, rel=1e-9)
    shared = power.power(effect, sigma=0.3, seeds=seeds, rho=0.36)
    assert shared == pytest.approx(power.power(effect, sigma=0.24, seeds=seeds), rel=1e-12)


@pytest.mark.parametrize(
    ("seeds", "visible"), [(3, (0.69, 1.38)), (5, (0.36, 0.71)), (10, (0.21, 0.42)), (20, (0.14, 0.28))]
)
def test_smallest_visible_effects(seeds, visible):
    """The design's table for sigma 0.15 and 0.30, to two decimals; ours is solved to 1e-4 sigma."""
    found = [power.visible(sigma=sigma, seeds=seeds) for sigma in (0.15, 0.3)]
    np.testing.assert_allclose(found, visible, atol=0.00505)


def test_an_effect_that_is_visible_is_seen_4_times_in_5():
    for plan in ("fixed", "auto", "open"):
        seen = power.visible(sigma=0.3, seeds=20, plan=plan, variants=3)
        again = power.power(seen, sigma=0.3, seeds=20, plan=plan, variants=3)
        assert again == pytest.approx(0.8, abs=1e-3)
    error = 0.1
    seen = power.smallest_visible(error, df=7, critical=2.5)
    assert reference.nct.sf(2.5, 7, seen / error) == pytest.approx(0.8, rel=1e-9)


@pytest.mark.parametrize(("size", "expected"), [(0.75, 0.79), (1.0, 0.96), (1.5, 1.0)])
def test_the_power_of_four_looks(size, expected):
    """The design's simulation, to two decimals, its effects in spreads of the difference; ours may be 2
    points less, as its docstring says."""
    found = power.power(size * np.sqrt(2), sigma=1.0, seeds=20, plan="auto")
    assert expected - 0.025 < found < expected + 0.005


def test_a_family_costs_power():
    for plan in ("fixed", "auto", "open"):
        given = {"sigma": 0.3, "seeds": 12, "plan": plan}
        alone, shared = power.power(0.4, **given), power.power(0.4, **given, family=6)
        assert 0 < shared < alone
        assert power.visible(**given, family=6) > power.visible(**given)
    assert power.seeds_needed(0.3, sigma=0.3, family=6) > power.seeds_needed(0.3, sigma=0.3)
    with pytest.raises(UsageError, match="family of 2 cannot hold 3"):
        power.power(0.3, sigma=0.3, seeds=5, variants=3, family=2)


def test_the_seeds_needed_are_the_fewest():
    for effect in (0.25, 0.4, 5.0):
        seeds = power.seeds_needed(effect, sigma=0.3, variants=3)
        assert power.power(effect, sigma=0.3, seeds=seeds, variants=3) >= 0.8
        assert seeds == 5 or power.power(effect, sigma=0.3, seeds=seeds - 1, variants=3) < 0.8
    assert power.seeds_needed(1e-4, sigma=0.3) is None


def test_how_often_equal_arms_look_unequal():
    """20,000 sets of arms: a standard error of a third of a point."""
    for variants, seeds in ((3, 5), (5, 10)):
        sigma = np.random.default_rng(0).standard_normal((20_000, variants + 1, seeds)).std(-1, ddof=1)
        found = (sigma.max(1) > 2 * sigma.min(1)).mean()
        assert power.chance_unequal(variants, seeds) == pytest.approx(found, abs=0.011)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("plan", ["fixed", "auto", "open"])
def test_nothing_and_everything(plan):
    assert power.power(0.0, sigma=0.3, seeds=20, plan=plan) < 0.03
    for effect in (30.0, 1e6):
        assert power.power(effect, sigma=0.3, seeds=20, plan=plan, variants=3) == pytest.approx(1)
    assert power.smallest_visible(0.0, df=4, critical=np.inf) == np.inf


def test_the_outlook():
    assert power.outlook(sigma=0.25, seeds=20, plan="auto", variants=2).startswith(
        "with sigma 0.25 this plan can see "
    )
    assert power.outlook(sigma=0.25, seeds=4) == (
        "with sigma 0.25 this plan only describes: a verdict needs 5 seeds"
    )
    assert "nothing at 5 seeds" in power.outlook(sigma=0.25, seeds=9, plan="open", family=9)


@pytest.mark.parametrize(
    "wrong", [{"sigma": 0.0}, {"sigma": np.nan}, {"seeds": 1}, {"variants": 0}, {"rho": 1.0}, {"rho": -0.1}]
)
def test_refusals(wrong):
    with pytest.raises(UsageError):
        power.power(0.3, **({"sigma": 0.3, "seeds": 5} | wrong))


@pytest.mark.parametrize("df", [1, 2, 30])
def test_the_smallest_visible_effect_of_very_wide_intervals(df):
    """With two seeds a critical value may be 194, and what is visible far beyond it."""
    critical = reference.t.isf(0.0164 / 10, df)
    shift = power.smallest_visible(1.0, df=df, critical=critical)
    assert power.detection(shift, 1.0, df=df, critical=critical) == pytest.approx(0.8, abs=1e-9)
