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


def test_bf16_logits_are_judged_in_fp32():
    loss = losses.build(LossSpec())
    assert loss(torch.from_numpy(LOGITS).bfloat16(), torch.from_numpy(LABELS)).dtype == torch.float32
