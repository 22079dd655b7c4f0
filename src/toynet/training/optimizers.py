"""Optimisers: Adam with Keras' epsilon, AdamW, SGD, and Muon for convolutions.

Muon: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; a convolution's
(O, I, H, W) weight is taken as the matrix (O, I*H*W).
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from toynet.training.spec import OptimSpec

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
_NEWTON_SCHULZ_STEPS = 5


def build(model: nn.Module, spec: OptimSpec) -> tuple[Optimizer, ...]:
    """The optimisers that together move every trainable weight once a step.

    Weight decay acts on matrices and kernels only, never on biases or batch norm.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    kernels = [p for p in trainable if p.ndim >= 2]
    rest = [p for p in trainable if p.ndim < 2]
    if spec.name == "sgd":
        nesterov = spec.nesterov and spec.momentum > 0
        groups = _groups(kernels, rest, spec.weight_decay)
        return (torch.optim.SGD(groups, spec.lr, momentum=spec.momentum, nesterov=nesterov, fused=True),)
    if spec.name == "muon":
        hidden = _hidden_convolutions(model)
        taken = {id(p) for p in hidden}
        kernels = [p for p in kernels if id(p) not in taken]
        muon = Muon(
            hidden,
            spec.lr,
            spec.momentum,
            nesterov=spec.nesterov,
            weight_decay=spec.weight_decay,
            unit_rows=spec.unit_rows,
        )
        return muon, _adam(kernels, rest, spec, lr=spec.aux_lr, decoupled=True)
    return (_adam(kernels, rest, spec, lr=spec.lr, decoupled=spec.name == "adamw"),)


def set_rate(optimizers: Iterable[Optimizer], multiple: float) -> None:
    """Set every group's rate to `multiple` of the one it was built with."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("full_lr", group["lr"]) * multiple


class KerasAdam(torch.optim.Adam):
    """Adam whose epsilon is added to the root of the uncorrected second moment, as Keras does.

    torch adds it after the bias correction, so torch's epsilon is Keras' divided by sqrt(1 - beta2^t):
    30 times larger at the first step, equal in the end.
    """

    def __init__(self, params: Any, *, keras_eps: float, **options: Any) -> None:
        super().__init__(params, eps=keras_eps, fused=True, **options)
        self.keras_eps = keras_eps

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            moving = next((p for p in group["params"] if p.grad is not None), None)
            state = None if moving is None else self.state.get(moving)
            done = int(state["step"]) if state else 0
            group["eps"] = self.keras_eps / math.sqrt(1 - group["betas"][1] ** (done + 1))
        return super().step(closure)


class Muon(Optimizer):
    """Momentum whose update is made orthogonal and scaled by sqrt(max(1, rows/columns)).

    Takes weights of two or more dimensions; the first dimension makes the rows. With `unit_rows` each weight
    is first rescaled to the Frobenius norm that orthonormal rows would give it, as airbench does.
    """

    def __init__(
        self,
        params: Sequence[Tensor],
        lr: float,
        momentum: float,
        *,
        nesterov: bool,
        weight_decay: float,
        unit_rows: bool = False,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
        defaults["unit_rows"] = unit_rows
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(weight)
                buffer = state["momentum_buffer"].lerp_(weight.grad, 1 - group["momentum"])
                update = weight.grad.lerp(buffer, group["momentum"]) if group["nesterov"] else buffer
                matrix = update.flatten(1)
                scale = math.sqrt(max(1.0, matrix.shape[0] / matrix.shape[1]))
                if group["unit_rows"]:
                    weight.mul_(math.sqrt(len(weight)) / weight.norm())
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(orthogonalise(matrix).view(weight.shape), alpha=-group["lr"] * scale)


def orthogonalise(matrix: Tensor) -> Tensor:
    """About U V^T of the singular value decomposition, by a quintic Newton-Schulz iteration in bf16."""
    a, b, c = _NEWTON_SCHULZ
    x: Tensor = matrix.bfloat16()
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(_NEWTON_SCHULZ_STEPS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).to(matrix.dtype)


def _adam(
    kernels: list[nn.Parameter], rest: list[nn.Parameter], spec: OptimSpec, *, lr: float, decoupled: bool
) -> Optimizer:
    return KerasAdam(
        _groups(kernels, rest, spec.weight_decay),
        lr=lr,
        betas=(spec.beta1, spec.beta2),
        keras_eps=spec.eps,
        decoupled_weight_decay=decoupled,
    )


def _groups(
    kernels: list[nn.Parameter], rest: list[nn.Parameter], weight_decay: float
) -> list[dict[str, Any]]:
    groups = [{"params": kernels, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def _hidden_convolutions(model: nn.Module) -> list[nn.Parameter]:
    """Every convolution's kernel but the first one's, which reads pixels."""
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    return [m.weight for m in convolutions[1:] if isinstance(m.weight, nn.Parameter)]
