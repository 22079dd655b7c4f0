"""Losses on logits (N, K) in nats; labels are (N,) int64 or (N, K) probabilities."""

from collections.abc import Callable

import torch.nn.functional as functional
from torch import Tensor

from toynet.training.spec import LossSpec

Loss = Callable[[Tensor, Tensor], Tensor]


def build(spec: LossSpec) -> Loss:
    """The mean loss over a batch, computed in float32 whatever the logits' type."""
    if spec.name == "cross_entropy":
        return lambda logits, labels: functional.cross_entropy(
            logits.float(), labels, label_smoothing=spec.label_smoothing
        )
    return lambda logits, labels: focal(
        logits.float(), labels, gamma=spec.gamma, label_smoothing=spec.label_smoothing
    )


def focal(logits: Tensor, labels: Tensor, *, gamma: float, label_smoothing: float = 0.0) -> Tensor:
    """Focal loss, -sum_k y_k (1 - p_k)^gamma log p_k, without class weights (Lin et al. 2017, eq. 4)."""
    classes = logits.shape[1]
    soft = labels if labels.ndim == 2 else functional.one_hot(labels, classes).to(logits.dtype)
    soft = soft * (1 - label_smoothing) + label_smoothing / classes
    log_p = logits.log_softmax(dim=1)
    return -(soft * (1 - log_p.exp()) ** gamma * log_p).sum(dim=1).mean()
