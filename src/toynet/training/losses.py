"""Losses on logits (N, K) in nats; labels are (N,) int64 or (N, K) probabilities."""

from collections.abc import Callable

import torch.nn.functional as functional
from torch import Tensor

from toynet.training.spec import LossSpec

Loss = Callable[[Tensor, Tensor], Tensor]


def build(spec: LossSpec, class_counts: Tensor | None = None) -> Loss:
    """The mean loss over a batch, computed in float32 whatever the logits' type.

    class_counts: (K,), the training images of each class, from which weights are made where `spec` asks for
    them; without, none is weighted.
    """
    weights = None
    if spec.class_weights == "balanced" and class_counts is not None:
        weights = balanced_weights(class_counts)
    if spec.name == "focal":
        return lambda logits, labels: focal(
            logits.float(), labels, gamma=spec.gamma, label_smoothing=spec.label_smoothing, weights=weights
        )
    if weights is not None:
        return lambda logits, labels: functional.cross_entropy(
            logits.float(), labels, weights, label_smoothing=spec.label_smoothing, reduction="none"
        ).mean()
    return lambda logits, labels: functional.cross_entropy(
        logits.float(), labels, label_smoothing=spec.label_smoothing
    )


def balanced_weights(class_counts: Tensor) -> Tensor:
    """n / (K n_k) for each class, (K,) float32, as scikit-learn's `class_weight="balanced"`.

    Their mean over the images is 1, so that the learning rate keeps its meaning. A batch's loss is the mean
    of its weighted losses (as Keras has it), not their sum over the sum of weights (as torch has it): pieces
    of a batch then add up to the whole, whichever images meet in them.
    """
    return class_counts.sum() / (len(class_counts) * class_counts.clamp(min=1)).float()


def focal(
    logits: Tensor,
    labels: Tensor,
    *,
    gamma: float,
    label_smoothing: float = 0.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Focal loss, -sum_k w_k y_k (1 - p_k)^gamma log p_k (Lin et al. 2017, eq. 4; with weights, eq. 5)."""
    classes = logits.shape[1]
    soft = labels if labels.ndim == 2 else functional.one_hot(labels, classes).to(logits.dtype)
    soft = soft * (1 - label_smoothing) + label_smoothing / classes
    if weights is not None:
        soft = soft * weights
    log_p = logits.log_softmax(dim=1)
    return -(soft * (1 - log_p.exp()) ** gamma * log_p).sum(dim=1).mean()
