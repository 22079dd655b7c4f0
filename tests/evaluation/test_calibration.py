"""Temperature scaling against torch's own optimiser and torchmetrics' calibration error."""

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from toynet.evaluation.calibration import fit_temperature, probabilities


def drawn(temperature: float, n: int = 4000, classes: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from their softmax at `temperature`."""
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 3, (n, classes)).astype(np.float32)
    chance = torch.softmax(torch.from_numpy(logits) / temperature, 1).numpy()
    labels = np.array([rng.choice(classes, p=row / row.sum()) for row in chance.astype(np.float64)])
    return logits, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_is_that_which_newton_finds(temperature: float) -> None:
    logits, labels = drawn(temperature)
    inverse = torch.ones(1, dtype=torch.float64, requires_grad=True)
    scores, truth = torch.from_numpy(logits).double(), torch.from_numpy(labels)
    optimizer = torch.optim.LBFGS([inverse], max_iter=99, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    second = scores.topk(2).indices[:, 1]

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(scores * inverse, truth, reduction="sum")
        value = value + torch.nn.functional.cross_entropy(scores * inverse, second)
        value.backward()
        return value

    optimizer.step(loss)
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(1 / inverse.item(), rel=1e-4)
    assert found == pytest.approx(temperature, rel=0.1)


def test_it_mends_probabilities_that_are_too_sure() -> None:
    logits, labels = drawn(2.5)
    truth = torch.from_numpy(labels)

    def error(temperature: float) -> float:
        sure = torch.from_numpy(probabilities(logits, temperature))
        return multiclass_calibration_error(sure, truth, num_classes=7, n_bins=15).item()

    assert error(fit_temperature(logits, labels)) < 0.03 < 0.1 < error(1.0)


@pytest.mark.parametrize("images", [5, 15, 500])
def test_images_that_are_all_right_make_no_answer_certain(images: int) -> None:
    """As by the rule of succession: after n successes the next one is expected with about n in n + 1."""
    rng = np.random.default_rng(0)
    logits = np.full((images, 2), -5.0, np.float32)
    labels = rng.integers(0, 2, images)
    logits[np.arange(images), labels] = 5.0
    sure = probabilities(logits, fit_temperature(logits, labels)).max(axis=1)
    np.testing.assert_allclose(sure, images / (images + 1), rtol=1e-3)


def test_one_image_more_hardly_counts_among_many() -> None:
    logits, labels = drawn(2.5)
    alone = torch.nn.functional.cross_entropy
    scores, truth = torch.from_numpy(logits).double(), torch.from_numpy(labels)
    found = fit_temperature(logits, labels)
    nearby = [alone(scores / t, truth).item() for t in (0.98 * found, found, 1.02 * found)]
    assert nearby[1] == min(nearby)


def test_probabilities_are_torchs_softmax() -> None:
    logits = np.random.default_rng(0).normal(0, 30, (50, 4)).astype(np.float32)
    expected = torch.softmax(torch.from_numpy(logits) / 1.7, 1).numpy()
    np.testing.assert_allclose(probabilities(logits, 1.7), expected, atol=1e-6)
