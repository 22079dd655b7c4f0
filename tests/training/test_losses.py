import keras
import numpy as np
import pytest
import torch

from toynet.training import losses
from toynet.training.spec import LossSpec

GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.normal(size=(32, 7)).astype(np.float32) * 3
LABELS = GENERATOR.integers(0, 7, 32)
ONE_HOT = np.eye(7, dtype=np.float32)[LABELS]
SOFT = GENERATOR.dirichlet(np.ones(7), 32).astype(np.float32)


def ours(spec: LossSpec, labels: np.ndarray) -> float:
    return float(losses.build(spec)(torch.from_numpy(LOGITS), torch.from_numpy(labels)))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("labels", "reference"), [(LABELS, ONE_HOT), (SOFT, SOFT)])
def test_cross_entropy_equals_keras(smoothing: float, labels, reference):
    keras_loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    assert ours(LossSpec(label_smoothing=smoothing), labels) == pytest.approx(
        float(keras_loss(reference, LOGITS)), rel=1e-5
    )


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_focal_equals_keras(gamma: float):
    keras_loss = keras.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=gamma, from_logits=True)
    assert ours(LossSpec(name="focal", gamma=gamma), LABELS) == pytest.approx(
        float(keras_loss(ONE_HOT, LOGITS)), rel=1e-4
    )


def test_focal_without_focus_is_cross_entropy_also_smoothed_and_soft():
    for labels in (LABELS, SOFT):
        plain = ours(LossSpec(label_smoothing=0.2), labels)
        assert ours(LossSpec(name="focal", gamma=0, label_smoothing=0.2), labels) == pytest.approx(
            plain, rel=1e-5
        )


COUNTS = np.bincount(LABELS, minlength=7) * np.array([1, 9, 2, 5, 1, 3, 4]) + 1
BALANCED = COUNTS.sum() / (7 * COUNTS)


def weighted(labels: np.ndarray, **spec: object) -> float:
    loss = losses.build(LossSpec(class_weights="balanced", **spec), torch.from_numpy(COUNTS))
    return float(loss(torch.from_numpy(LOGITS), torch.from_numpy(labels)))


def test_balanced_weights_are_those_of_the_formula_and_one_in_the_mean():
    found = losses.balanced_weights(torch.from_numpy(COUNTS)).numpy()
    np.testing.assert_allclose(found, BALANCED, rtol=1e-6)
    assert (found * COUNTS).sum() / COUNTS.sum() == pytest.approx(1)


def test_weighted_cross_entropy_equals_keras_sample_weights_and_torchs_own_weights():
    keras_loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    theirs = float(keras_loss(ONE_HOT, LOGITS, sample_weight=BALANCED[LABELS].astype(np.float32)))
    assert weighted(LABELS) == pytest.approx(theirs, rel=1e-5)
    torchs = torch.nn.CrossEntropyLoss(torch.tensor(BALANCED, dtype=torch.float32))
    normalised = float(torchs(torch.from_numpy(LOGITS), torch.from_numpy(LABELS)))
    assert weighted(LABELS) == pytest.approx(normalised * BALANCED[LABELS].mean(), rel=1e-5)
    assert weighted(LABELS) != pytest.approx(ours(LossSpec(), LABELS), rel=0.01)


def test_weights_hold_for_mixed_labels_smoothing_and_focal_loss():
    assert weighted(ONE_HOT) == pytest.approx(weighted(LABELS), rel=1e-5)
    assert weighted(SOFT, name="focal", gamma=0.0, label_smoothing=0.2) == pytest.approx(
        weighted(SOFT, label_smoothing=0.2), rel=1e-5
    )
    keras_loss = keras.losses.CategoricalFocalCrossentropy(
        alpha=BALANCED.tolist(), gamma=2.0, from_logits=True
    )
    assert weighted(LABELS, name="focal") == pytest.approx(float(keras_loss(ONE_HOT, LOGITS)), rel=1e-4)


def test_bf16_logits_are_judged_in_fp32():
    loss = losses.build(LossSpec())
    assert loss(torch.from_numpy(LOGITS).bfloat16(), torch.from_numpy(LABELS)).dtype == torch.float32
