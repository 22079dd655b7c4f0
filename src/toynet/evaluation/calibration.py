"""Temperature scaling: one number that makes a classifier's probabilities mean what they say.

Guo et al. 2017, "On calibration of modern neural networks", arXiv 1706.04599, section 4.2. Dividing all
logits by a temperature changes no answer, only how sure it is.
"""

import numpy as np
from numpy.typing import NDArray

from toynet.evaluation.metrics import log_softmax

_COLDEST, _HOTTEST = 0.05, 20.0


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """The temperature with the least cross-entropy of logits (N, K) against labels (N,) and one image more.

    That one is like the average of all, but its second answer is the right one. It hardly counts among
    hundreds; a few images that are all classified rightly would make every answer certain (Laplace's rule of
    succession). Between 0.05 and 20. The loss is convex in the inverse of the temperature, so the minimum
    found is the only one. Logits must be finite.
    """
    from scipy.optimize import minimize_scalar  # half a second that only this needs

    rows = np.arange(len(labels))
    scores = np.asarray(logits, np.float64)

    second = np.argsort(scores, axis=1)[:, -2] if scores.shape[1] > 1 else labels

    def cross_entropy(inverse: float) -> float:
        log_p = log_softmax(scores * inverse)
        return float(-log_p[rows, labels].sum() - log_p[rows, second].mean())

    found = minimize_scalar(cross_entropy, bounds=(1 / _HOTTEST, 1 / _COLDEST), method="bounded")
    return float(1 / found.x)


def probabilities(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float32]:
    """Softmax of logits (N, K) over the last axis, at a temperature."""
    return np.exp(log_softmax(np.asarray(logits, np.float64) / temperature)).astype(np.float32)
