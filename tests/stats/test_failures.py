"""Failed runs, per-image results, and what a reader is told of them."""

import numpy as np
import pytest
from scipy import stats as reference

from toynet.core.errors import UsageError
from toynet.stats import compare, contrasts, intervals

CONTROL = [92.1, 92.3, 92.0, 92.4, 92.2, 92.1, 92.5]
BETTER = [93.1, 93.2, 93.1, 93.5, 93.2, 93.0, 93.6]
OTHER = [92.0, 92.4, 92.1, 92.2, 92.3, 92.0, 92.4]


def told(found, code):
    return [caution.text for caution in found.cautions if caution.code == code]


def test_a_failed_run_takes_the_verdict_that_it_would_change():
    failed = [*BETTER[:6], None]
    found = compare({"control": CONTROL, "a": failed, "b": OTHER}, control="control", chance=10.0)
    assert found["a"].verdict == "undecided"
    assert found["a"].further_seeds is None
    assert found["a"].seeds == 6
    assert found["a"].interval.low > 0
    [text] = told(found, "failures")
    p = reference.fisher_exact([[1, 6], [0, 7]]).pvalue
    assert text.startswith(f"a: 1 of 7 runs failed, control 0 (Fisher's exact p {p:.2g})")
    expected = reference.ttest_rel(BETTER[:6], CONTROL[:6]).confidence_interval(1 - 0.05 / 2)
    assert found["a"].interval.low == pytest.approx(expected.low, rel=1e-9)


def test_the_others_lose_nothing_by_a_failure():
    alone = compare({"control": CONTROL, "b": OTHER}, control="control", family=2)["b"]
    with_failure = compare({"control": CONTROL, "a": [*BETTER[:6], None], "b": OTHER}, control="control")["b"]
    assert with_failure.seeds == 7
    assert with_failure.error == pytest.approx(alone.error, rel=1e-12)
    assert with_failure.verdict == alone.verdict


def test_a_verdict_that_survives_failures_as_chance_stays():
    """The control failed in the same block, which as chance against chance shows no difference."""
    wide = {"control": [*CONTROL, None], "a": [s + 4 for s in BETTER] + [None]}
    found = compare(wide, control="control", chance=10.0)
    assert found["a"].verdict == "helps"
    assert "survives" in told(found, "failures")[0]
    assert compare(wide, control="control")["a"].verdict == "undecided"  # chance is not known


def test_a_lost_variant():
    scores = {"control": CONTROL, "a": [None] * 6 + [92.0], "b": BETTER}
    found = compare(scores, control="control", chance=10.0)
    assert found.lost == ("a",)
    assert [contrast.variant for contrast in found.contrasts] == ["b"]
    with pytest.raises(UsageError, match="fewer than two seeds"):
        found["a"]
    assert "nothing to compare" in told(found, "failures")[0]
    lone = reference.ttest_rel(BETTER, CONTROL)
    assert found["b"].p == pytest.approx(2 * lone.pvalue, rel=1e-9)  # a stays in the family
    assert found["b"].interval.low < lone.confidence_interval(0.95).low


def test_an_arm_that_failed_everywhere_has_no_mean():
    found = compare({"control": CONTROL, "a": [None] * 7}, control="control")
    arm = found.arms[1]
    assert (arm.mean, arm.sigma, arm.failed) == (None, None, 7)
    assert found.contrasts == ()
    assert (found.sigma, found.rho) == (None, None)


def test_a_variant_whose_every_run_fails_asks_for_no_more_seeds():
    for plan in ("auto", "open"):
        found = compare({"control": CONTROL[:5], "a": [None] * 5}, control="control", plan=plan)
        assert (found.running, found.next_look, found.lost) == ((), None, ("a",))
    near = [score + 0.05 * (-1) ** place for place, score in enumerate([*CONTROL, 92.2])]
    scores = {"control": [*CONTROL, 92.2], "a": [None] * 5, "b": near}
    found = compare(scores, control="control", plan="auto", margin=0.01)
    assert found["b"].seeds == 8, "the others go on without it"
    assert (found.arms[1].planned, found.arms[1].failed) == (5, 5)


def test_failures_under_auto_go_on():
    scores = {"control": CONTROL[:5], "a": [*BETTER[:4], None]}
    found = compare(scores, control="control", plan="auto", chance=10.0)
    assert found["a"].verdict == "description only"
    assert (found.running, found.next_look) == (("a",), 8)


def bits(seeds, images=1000, p=0.9, seed=0):
    return np.random.default_rng(seed).random((seeds, images)) < p


def scored(correct):
    return {arm: (100 * right.mean(1)).tolist() for arm, right in correct.items()}


def test_the_floor_widens_an_interval_that_luck_made_narrow():
    rng = np.random.default_rng(0)
    control = np.stack([rng.permutation(np.arange(1000) < 900) for _ in range(5)])
    control[0, np.flatnonzero(~control[0])[0]] = True
    correct = {"control": control, "a": np.stack([rng.permutation(np.arange(1000) < 905) for _ in range(5)])}
    found, plain = (compare(scored(correct), control="control", correct=c) for c in (correct, None))
    floor = np.hypot(*(intervals.lucky_spread(right) for right in correct.values())) / np.sqrt(5)
    assert found["a"].error == pytest.approx(floor, rel=1e-9)
    assert found["a"].error > plain["a"].error
    assert told(found, "raised-to-floor")
    assert found.arms[1].real_spread == 0
    assert plain["a"].new_images is None


def test_the_interval_for_new_images_contains_the_other():
    """Arm a is right on 60 images that the control never gets right, and wrong on 40 others."""
    correct = {arm: bits(6, p=0.99, seed=seed) for seed, arm in enumerate(("control", "a", "b"))}
    correct["control"][:, :60] = False
    correct["b"][:, :60] = False
    correct["a"][:, :60] = True
    correct["a"][:, 60:100] = False
    found = compare(scored(correct), control="control", correct=correct)
    for contrast in found.contrasts:
        assert contrast.new_images.low <= contrast.interval.low
        assert contrast.new_images.high >= contrast.interval.high
        reach = contrast.interval.high - contrast.difference
        wide = contrast.new_images.high - contrast.difference
        added = contrast.image_error
        assert wide / reach == pytest.approx(np.hypot(contrast.error, added) / contrast.error, rel=1e-9)
    assert found["a"].image_error > found["a"].error
    assert "a" in told(found, "image-error")[0]


def test_results_that_belong_to_other_runs_are_refused():
    correct = {"control": bits(5), "a": bits(5, seed=1)}
    scores = scored(correct)
    with pytest.raises(UsageError, match="seed 0 is right on"):
        compare(scores, control="control", correct={"control": correct["a"], "a": correct["control"]})
    with pytest.raises(UsageError, match="give one array for each"):
        compare(scores, control="control", correct={"a": correct["a"]})
    with pytest.raises(UsageError, match="truth values"):
        compare(scores, control="control", correct={"control": correct["control"], "a": bits(4)})
    with pytest.raises(UsageError, match="same images"):
        compare(scores, control="control", correct={"control": correct["control"], "a": bits(5, 900)})


def test_a_failed_runs_images_do_not_matter():
    correct = {"control": bits(6), "a": bits(6, seed=1)}
    scores = scored(correct)
    scores["a"][2] = None
    correct["a"][2] = False
    found = compare(scores, control="control", correct=correct)
    kept = np.arange(6) != 2
    expected = intervals.image_error(correct["a"][kept], correct["control"][kept])
    assert found["a"].image_error == pytest.approx(expected, rel=1e-12)


def test_sigma_and_rho_are_those_of_the_last_look():
    found = compare({"control": CONTROL, "a": BETTER, "b": OTHER}, control="control")
    block = np.array([CONTROL, BETTER, OTHER])
    assert found.sigma == pytest.approx(contrasts.residual(block), rel=1e-12)
    assert found.rho == pytest.approx(contrasts.correlation(block), rel=1e-12)
