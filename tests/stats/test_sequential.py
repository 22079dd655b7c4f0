import numpy as np
import pytest
from scipy import stats as reference

from toynet.stats import sequential


def statistics(differences, looks):
    """|t| of paired differences (studies, pairs, seeds) at each look: (looks, studies, pairs)."""
    total, squares = differences.cumsum(-1), (differences**2).cumsum(-1)
    found = []
    for seeds in looks:
        mean = total[..., seeds - 1] / seeds
        variance = (squares[..., seeds - 1] - seeds * mean**2) / (seeds - 1)
        found.append(np.abs(mean) / np.sqrt(variance / seeds))
    return np.array(found)


def false_positives(plan, looks, t, family):
    """The share of studies in which any pair, judged by its own spread, is ever called real."""
    critical = [
        sequential.critical(plan, variants=1, seeds=s, df=s - 1, pooled=False, family=family) for s in looks
    ]
    return float((t > np.array(critical)[:, None, None]).any((0, 2)).mean())


@pytest.mark.parametrize(("plan", "looks"), [("fixed", (10,)), ("auto", sequential.LOOKS)])
@pytest.mark.parametrize("arms", [2, 4, 9])
def test_a_chain_of_identical_arms_is_called_real_in_5_percent_of_studies(plan, looks, arms):
    """A-B, B-C, C-D, ...: 100,000 studies, of which 5 % has a standard error of 0.07 points."""
    runs = np.random.default_rng(0).standard_normal((100_000, arms, looks[-1]))
    t = statistics(np.diff(runs, axis=1), looks)
    found = false_positives(plan, looks, t, family=arms - 1)
    assert 0.045 < found < 0.05 + 3 * 0.0007
    if arms > 2:
        assert false_positives(plan, looks, t, family=1) > 0.1  # why the family must be known


def test_a_chain_under_an_open_plan_stays_below_5_percent():
    looks = tuple(range(5, 61))
    runs = np.random.default_rng(1).standard_normal((10_000, 4, 60))
    assert false_positives("open", looks, statistics(np.diff(runs, axis=1), looks), family=3) < 0.05


def test_two_comparisons_of_two_variants_share_the_level():
    """Pooled spreads, each comparison with arms of its own: 5 % for both together."""
    looks, wrong = sequential.LOOKS, np.zeros((2, 100_000), bool)
    for place in range(2):
        runs = np.random.default_rng(place).standard_normal((100_000, 3, 20))
        for seeds in looks:
            seen = runs[..., :seeds]
            left = seen - seen.mean(2, keepdims=True)
            left = left - left.mean(1, keepdims=True)
            error = np.sqrt((left**2).sum((1, 2)) / (2 * (seeds - 1)) * 2 / seeds)
            t = np.abs(seen.mean(2)[:, 1:] - seen.mean(2)[:, :1]).max(1) / error
            wrong[place] |= t > sequential.critical(
                "auto", variants=2, seeds=seeds, df=2 * (seeds - 1), pooled=True, family=4
            )
    assert 0.045 < wrong.any(0).mean() < 0.05 + 3 * 0.0007


def test_the_level_of_a_look():
    assert sequential.look_level("fixed", 0.0125) == sequential.look_level("open", 0.0125) == 0.0125
    assert sequential.look_level("auto", 0.05) == pytest.approx(0.0164, rel=1e-12)
    for level in (0.05, 0.0125, 1e-3, 1e-6):
        assert level / 4 < sequential.look_level("auto", level) <= 0.0164 / 0.05 * level * (1 + 1e-12)


def test_critical_values_of_a_family():
    def of(**given):
        return sequential.critical(seeds=8, **given)

    pair = of(plan="fixed", variants=1, df=7, pooled=False, family=4)
    assert pair == pytest.approx(reference.t.isf(0.05 / 8, 7), rel=1e-9)
    assert of(plan="fixed", variants=1, df=7, pooled=True, family=4) == pytest.approx(pair, rel=1e-9)
    for plan in ("fixed", "auto", "open"):
        for pooled in (True, False):
            alone = of(plan=plan, variants=3, df=21, pooled=pooled)
            assert of(plan=plan, variants=3, df=21, pooled=pooled, family=3) == alone
            assert of(plan=plan, variants=3, df=21, pooled=pooled, family=9) > alone


def test_the_evidence_by_its_formula():
    t, n = 3.1, 9
    g, v = 1 + n, n - 1
    expected = g**-0.5 * ((1 + t**2 / v) / (1 + t**2 / (v * g))) ** (n / 2)
    assert np.exp(sequential.log_e_value(t, n)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("seeds", "level"), [(5, 0.05), (8, 0.05), (8, 0.01), (30, 0.005)])
def test_an_interval_excludes_zero_where_the_evidence_is_1_over_the_level(seeds, level):
    t = sequential.e_critical(seeds, level)
    assert sequential.log_e_value(t, seeds) == pytest.approx(-np.log(level), rel=1e-9)
    assert sequential.p_value("open", t, seeds=seeds, df=seeds - 1) == pytest.approx(level, rel=1e-9)


def test_no_evidence_is_enough_from_few_seeds_for_a_strict_level():
    assert sequential.e_critical(5, 0.01) == np.inf
    assert sequential.e_critical(5, 0.05) < np.inf


def test_looks():
    assert sequential.looks("auto", 3) == (3,)
    assert sequential.looks("auto", 13) == (5, 8, 12)
    assert sequential.looks("open", 7) == (5, 6, 7)
    assert sequential.looks("fixed", 13) == (13,)
    assert [sequential.next_look("auto", s) for s in (3, 5, 12, 20)] == [5, 8, 20, None]
    assert [sequential.next_look("open", s) for s in (3, 5, 12)] == [5, 6, 13]
    assert sequential.next_look("fixed", 13) is None


def test_testing_after_every_seed_by_the_usual_level_raises_many_false_alarms():
    """What `docs/statistics.md` says of it, and why plans come first. Standard error 0.4 points."""
    scores = np.random.default_rng(0).standard_normal((2, 10_000, 20))
    p = [reference.ttest_ind(*scores[..., :seeds], axis=1).pvalue for seeds in range(3, 21)]
    assert (np.array(p) < 0.05).any(0).mean() == pytest.approx(0.22, abs=0.01)
