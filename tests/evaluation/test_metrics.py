import math
import subprocess
import sys

import numpy as np
import pytest
import torch
import torchmetrics.functional.classification as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax as scipy_log_softmax

from toynet.core.errors import DataError
from toynet.evaluation.metrics import confusion, log_softmax, measure, per_class


def sample(n: int, classes: int, seed: int = 0, lift: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    logits = rng.standard_normal((n, classes)).astype(np.float32)
    logits[np.arange(n), labels] += lift
    return logits, labels


@pytest.mark.parametrize(("n", "classes"), [(400, 10), (3000, 100), (50, 3), (7, 6)])
@pytest.mark.parametrize("seed", [0, 1])
def test_measure_agrees_with_torchmetrics(n: int, classes: int, seed: int) -> None:
    logits, labels = sample(n, classes, seed)
    found = measure(logits, labels)
    scores, target = torch.from_numpy(logits), torch.from_numpy(labels)
    kind = {"num_classes": classes}

    def expected(name: str, **more: object) -> float:
        return float(getattr(reference, f"multiclass_{name}")(scores, target, **kind, **more))

    assert found.n == n
    assert found.accuracy == pytest.approx(expected("accuracy", average="micro"), abs=1e-6)
    assert found.macro_f1 == pytest.approx(expected("f1_score", average="macro"), abs=1e-6)
    assert found.ece == pytest.approx(expected("calibration_error", n_bins=15, norm="l1"), abs=1e-5)
    assert found.loss == pytest.approx(float(torch.nn.functional.cross_entropy(scores, target)), abs=1e-5)
    if classes > 5:
        assert found.top5_accuracy == pytest.approx(expected("accuracy", average="micro", top_k=5), abs=1e-6)
    else:
        assert found.top5_accuracy is None
    table = reference.multiclass_confusion_matrix(scores, target, **kind).numpy()
    np.testing.assert_array_equal(confusion(logits, labels), table)
    present = table.sum(1) > 0
    recall = reference.multiclass_recall(scores, target, average="none", **kind).numpy()
    assert found.balanced_accuracy == pytest.approx(recall[present].mean(), abs=1e-6)


def test_a_table_done_by_hand() -> None:
    """Five images of three classes; the third class never occurs and is predicted once."""
    logits = np.log([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.6, 0.1], [0.2, 0.2, 0.6], [0.1, 0.5, 0.4]])
    labels = np.array([0, 0, 1, 1, 1])
    np.testing.assert_array_equal(confusion(logits, labels), [[1, 1, 0], [0, 2, 1], [0, 0, 0]])
    found = measure(logits, labels)
    assert found.accuracy == pytest.approx(3 / 5)
    assert found.balanced_accuracy == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found.macro_f1 == pytest.approx((2 / 3 + 4 / 6 + 0) / 3)
    assert found.loss == pytest.approx(-sum(map(math.log, [0.7, 0.1, 0.6, 0.2, 0.5])) / 5)
    # Confidences 0.7, 0.8, 0.6, 0.6, 0.5: the two of 0.6 share bin 9 of 15 (one right), the rest sit alone.
    assert found.ece == pytest.approx((0.3 + 0.8 + abs(1 - 1.2) + 0.5) / 5)
    cat, dog, fox = per_class(logits, labels, ["cat", "dog", "fox"])
    assert (cat.name, cat.n, cat.precision, cat.recall) == ("cat", 2, 1.0, 0.5)
    assert cat.f1 == pytest.approx(2 / 3)
    assert (cat.mistaken_for, cat.mistaken_share) == ("dog", 0.5)
    assert (dog.n, dog.precision, dog.recall) == (3, pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (dog.mistaken_for, dog.mistaken_share) == ("fox", pytest.approx(1 / 3))
    assert (fox.n, fox.precision, fox.recall, fox.f1, fox.mistaken_for) == (0, 0.0, None, 0.0, None)


def test_a_class_neither_shown_nor_predicted_has_no_scores() -> None:
    logits, labels = np.array([[2.0, 1.0, 0.0]]), np.array([0])
    row = per_class(logits, labels, ["a", "b", "c"])[2]
    assert (row.n, row.precision, row.recall, row.f1) == (0, None, None, None)
    assert measure(logits, labels).macro_f1 == 1.0


def test_perfect_confidence_is_calibrated_and_huge_logits_stay_finite() -> None:
    logits = np.array([[1e4, 0.0], [0.0, 1e4], [1e4, 0.0]], np.float32)
    right, wrong = measure(logits, np.array([0, 1, 0])), measure(logits, np.array([1, 1, 0]))
    assert (right.loss, right.ece) == (0.0, 0.0)
    assert wrong.loss == pytest.approx(1e4 / 3)
    assert wrong.ece == pytest.approx(1 / 3)


def test_equal_logits_rank_in_class_order_everywhere() -> None:
    logits = np.zeros((6, 6))
    found = measure(logits, np.arange(6))
    assert found.accuracy == pytest.approx(1 / 6)
    assert found.top5_accuracy == pytest.approx(5 / 6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_not_papered_over(bad: float) -> None:
    logits, labels = sample(20, 10)
    logits[3] = bad
    found = measure(logits, labels)
    assert math.isnan(found.loss)
    assert math.isnan(found.ece)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(2, 12), st.integers(1, 60), st.floats(0.01, 100), st.floats(-1e3, 1e3)
)
def test_log_softmax_agrees_with_scipy_and_ignores_offsets(
    seed: int, classes: int, n: int, scale: float, offset: float
) -> None:
    logits = np.random.default_rng(seed).standard_normal((n, classes)) * scale
    np.testing.assert_allclose(log_softmax(logits), scipy_log_softmax(logits, axis=1), atol=1e-10)
    np.testing.assert_allclose(log_softmax(logits + offset), log_softmax(logits), atol=1e-10)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 8), st.integers(1, 50))
def test_scores_do_not_depend_on_the_order_of_the_images(seed: int, classes: int, n: int) -> None:
    logits, labels = sample(n, classes, seed)
    order = np.random.default_rng(seed + 1).permutation(n)
    assert measure(logits, labels).model_dump() == pytest.approx(
        measure(logits[order], labels[order]).model_dump()
    )
    assert confusion(logits, labels).sum() == n


def test_what_does_not_fit_is_refused() -> None:
    logits, labels = sample(6, 3)
    for bad_logits, bad_labels in [(logits, labels[:5]), (logits[:0], labels[:0]), (logits[0], labels[:1])]:
        with pytest.raises(DataError, match="must be"):
            measure(bad_logits, bad_labels)
    with pytest.raises(DataError, match=r"labels 0\.\.9 do not fit logits of 3 classes"):
        measure(logits, np.array([0, 1, 2, 0, 1, 9]))
    with pytest.raises(DataError, match="2 class names"):
        per_class(logits, labels, ["a", "b"])


def test_metrics_and_diagnose_need_no_torch() -> None:
    modules = "toynet.evaluation.metrics, toynet.evaluation.diagnose, toynet.evaluation.spec"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
