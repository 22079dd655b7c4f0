"""compare(): the way from scores to verdicts."""

import numpy as np
import pytest
from scipy import stats as reference
from statsmodels.stats.multitest import multipletests

import toynet
from toynet.core.errors import UsageError
from toynet.stats import compare, contrasts, intervals, sequential
from toynet.stats.records import Comparison

EXAMPLE = {"control": [92.1, 92.3, 92.0, 92.4, 92.2], "dropout": [92.6, 92.7, 92.5, 92.9, 92.6]}


def arms(variants=1, seeds=5, effect=0.0, sigma=0.3, seed=0):
    scores = 92 + sigma * np.random.default_rng(seed).standard_normal((variants + 1, seeds))
    scores[1] += effect
    return dict(zip(["control", *"abcdefghij"[:variants]], scores.tolist(), strict=True))


def test_the_example():
    found = toynet.stats.compare(EXAMPLE, control="control")["dropout"]
    assert found.verdict == "helps"
    assert found.sentence == (
        "+0.46 pp [+0.39, +0.53], 5 seeds, better in 100 % of pairings; smallest visible effect 0.09."
    )


def test_one_variant_is_scipys_paired_t_test():
    scores = arms(seeds=7, effect=0.2)
    expected = reference.ttest_rel(scores["a"], scores["control"])
    bounds = expected.confidence_interval(0.95)
    found = compare(scores, control="control")["a"]
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert (found.interval.low, found.interval.high) == pytest.approx((bounds.low, bounds.high), rel=1e-9)
    assert found.difference / found.error == pytest.approx(expected.statistic, rel=1e-9)


def test_pairs_alone_are_scipys_paired_t_tests_at_a_share_of_the_level():
    scores = arms(variants=3, seeds=10, seed=1)
    scores["b"] = (92 + 4 * (np.array(scores["b"]) - 92)).tolist()
    found = compare(scores, control="control")
    tests = [reference.ttest_rel(scores[v], scores["control"]) for v in "abc"]
    adjusted = multipletests([t.pvalue for t in tests], method="holm")[1]
    for contrast, test, p in zip(found.contrasts, tests, adjusted, strict=True):
        assert not contrast.pooled
        bounds = test.confidence_interval(1 - 0.05 / 3)
        assert (contrast.interval.low, contrast.interval.high) == pytest.approx(
            (bounds.low, bounds.high), rel=1e-9
        )
        assert contrast.p == pytest.approx(p, rel=1e-9)
    assert "unequal-variance" in {caution.code for caution in found.cautions}


def test_several_variants_have_dunnetts_intervals():
    scores = arms(variants=3, seeds=20, seed=2)
    found = compare(scores, control="control")
    block = np.array(list(scores.values()))
    for contrast in found.contrasts:
        assert contrast.pooled
        half = intervals.dunnett_critical(3, 57, 0.05) * contrasts.residual(block) * np.sqrt(2 / 20)
        assert contrast.interval.high - contrast.difference == pytest.approx(half, rel=1e-9)


@pytest.mark.parametrize("plan", ["fixed", "auto", "open"])
def test_a_pair_of_a_family_is_judged_at_its_share(plan):
    scores = arms(seeds=12, effect=0.15, seed=4)
    alone, shared = (compare(scores, control="control", plan=plan, family=f) for f in (None, 4))
    assert (alone.family, shared.family) == (1, 4)
    one, other = alone["a"], shared["a"]
    assert other.seeds >= one.seeds
    critical = sequential.critical(
        plan, variants=1, seeds=other.seeds, df=other.df, pooled=other.pooled, family=4
    )
    assert other.interval.high - other.difference == pytest.approx(critical * other.error, rel=1e-9)
    if one.seeds == other.seeds:
        assert other.interval.low < one.interval.low
        assert other.smallest_visible > one.smallest_visible
        assert other.p == pytest.approx(min(1, 4 * one.p), rel=1e-9)
        assert (other.further_seeds or 0) >= (one.further_seeds or 0)


def test_a_family_asks_for_more_seeds():
    scores = arms(seeds=6, effect=0.1, seed=9)
    alone, shared = (compare(scores, control="control", margin=0.2, family=f)["a"] for f in (None, 9))
    assert alone.verdict == shared.verdict == "undecided"
    assert shared.further_seeds > alone.further_seeds


@pytest.mark.parametrize("family", [0, 1, 2.5, True, -3])
def test_a_family_counts_at_least_the_variants(family):
    with pytest.raises(UsageError, match="family"):
        compare(arms(variants=2), control="control", family=family)


def test_no_spread_gives_no_verdict():
    same = [92.1, 92.3, 92.0, 92.4, 92.2]
    for plan in ("fixed", "auto", "open"):
        for shift in (0.0, 0.5):
            for family in (None, 50):
                moved = [score + shift for score in same]
                found = compare({"control": same, "a": moved}, control="control", plan=plan, family=family)
                assert found["a"].verdict == "description only"
                assert found["a"].p == 1
                assert not np.isnan([found["a"].interval.low, found["a"].smallest_visible]).any()
                assert {"no-spread"} == {caution.code for caution in found.cautions}


def test_an_arm_that_changes_nothing_is_not_run_for_ever():
    rng = np.random.default_rng(0)
    for seeds, goes_on in ((19, ("same",)), (20, ())):
        control = (92 + 0.3 * rng.standard_normal(seeds)).tolist()
        found = compare({"control": control, "same": control}, control="control", plan="open")
        assert found.running == goes_on


def test_an_open_plan_ends_where_scores_cannot_be_more():
    assert sequential.next_look("open", sequential.MOST_SEEDS - 1) == sequential.MOST_SEEDS
    assert sequential.next_look("open", sequential.MOST_SEEDS) is None


def test_an_arm_that_changes_nothing_is_told_whatever_the_images_allow():
    bits = np.random.default_rng(0).random((5, 400)) < 0.9
    scores = list(100 * bits.mean(axis=1))
    other = np.random.default_rng(1).random((5, 400)) < 0.8
    arms = {"control": scores, "same": scores, "other": list(100 * other.mean(axis=1))}
    correct = {"control": bits, "same": bits, "other": other}
    found = compare(arms, control="control", correct=correct, margin=20)
    assert found["same"].verdict == "description only"
    assert found["other"].verdict != "description only"
    cautions = {caution.code: caution.text for caution in found.cautions}
    assert "same has the same scores as the control in every seed" in cautions["no-spread"]
    assert "same" not in cautions.get("raised-to-floor", "")


@pytest.mark.parametrize("seeds", [2, 3, 4])
@pytest.mark.parametrize("plan", ["fixed", "auto", "open"])
@pytest.mark.parametrize("variants", [1, 5])
def test_few_seeds_are_described_only(seeds, plan, variants):
    found = compare(arms(variants, seeds, effect=3.0), control="control", plan=plan)
    assert {contrast.verdict for contrast in found.contrasts} == {"description only"}
    assert "few-seeds" in {caution.code for caution in found.cautions}
    assert found.next_look == (None if plan == "fixed" else 5)
    assert found.running == (() if plan == "fixed" else found.variants)
    assert Comparison.model_validate_json(found.model_dump_json()) == found


def test_an_arm_stops_at_its_look_and_keeps_its_verdict():
    scores = arms(variants=2, seeds=20, seed=3)
    scores["b"] = (np.array(scores["b"]) + 2).tolist()
    first = compare({v: s[:5] for v, s in scores.items()}, control="control", plan="auto")
    assert (first.running, first.next_look) == (("a",), 8)
    assert first["b"].verdict == "helps"
    scores["b"] = scores["b"][:5]
    later = compare({v: s[:8] for v, s in scores.items()}, control="control", plan="auto")
    assert later["b"] == first["b"].model_copy(update={"p": later["b"].p})
    assert later["a"].seeds == 8
    waiting = {"control": scores["control"], "a": scores["a"][:7], "b": scores["b"]}
    assert compare(waiting, control="control", plan="auto")["a"].seeds == 5
    full = compare(scores, control="control", plan="auto")
    assert full["a"].seeds in (8, 12, 20)


def test_later_seeds_of_a_stopped_arm_change_nothing():
    scores = arms(seeds=20, effect=2.0)
    found = compare(scores, control="control", plan="auto")
    short = compare({v: s[:5] for v, s in scores.items()}, control="control", plan="auto")
    assert found["a"] == short["a"]
    assert "unused-seeds" in {caution.code for caution in found.cautions}
    assert found.next_look is None


def test_the_margin_is_that_of_the_first_look():
    control = [90.0, 90.2, 89.8, 90.1, 89.9]
    later = [70.0, 71.0, 70.5]
    scores = {
        "control": control + later,
        "a": [*(s + d for s, d in zip(control, (-2, 2, -1, 1, 0.1), strict=True)), *later],
    }
    assert compare(scores, control="control", plan="auto").margin == pytest.approx(0.3)
    assert compare(scores, control="control", plan="auto", margin=1.5).margin == 1.5
    for wrong in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(UsageError, match="margin"):
            compare(scores, control="control", plan="auto", margin=wrong)


def test_fractions_are_turned_into_percent():
    fractions = {arm: [score / 100 for score in row] for arm, row in EXAMPLE.items()}
    found = compare(fractions, control="control", unit="fraction")["dropout"]
    assert found.sentence == compare(EXAMPLE, control="control")["dropout"].sentence
    with pytest.raises(UsageError, match="unit='fraction'"):
        compare(fractions, control="control")


@pytest.mark.parametrize(
    ("scores", "named"),
    [
        ({"a": [92.0, 92.1]}, "no control"),
        ({"control": [92.0, 92.1]}, "nothing to compare"),
        ({"control": [92.0, 92.1], "a": [92.0]}, "arm a has 1 seeds"),
        ({"control": [92.0, 92.1, 92.2], "a": [92.0, 92.1]}, "arm a has 2 scores and control 3"),
        ({"control": [92.0, 92.1], "a": [92.0, "x"]}, "arm a: score 1"),
        ({"control": [92.0, 92.1], "a": [92.0, float("nan")]}, "None for a run that failed"),
        ({"control": [92.0, 92.1], "a": [92.0, 192.1]}, "between 0 and 100"),
        ({"control": [92.0, None], "a": [92.0, 92.1]}, "control finished fewer than 2"),
        ({"control": [92.0, 92.1], "a": "ab"}, "arm a: give a list"),
    ],
)
def test_refusals_name_the_arm(scores, named):
    with pytest.raises(UsageError, match=named.replace("(", r"\(")):
        compare(scores, control="control")


def test_a_wrong_name():
    found = compare(EXAMPLE, control="control")
    with pytest.raises(UsageError, match="did you mean dropout"):
        found["droput"]
    with pytest.raises(UsageError, match="plan"):
        compare(EXAMPLE, control="control", plan="atuo")
