"""Optimisers: Adam with Keras' epsilon, AdamW, SGD, and Muon for convolutions.

Muon: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; a convolution's
(O, I, H, W) weight is taken as the matrix (O, I*H*W).
"""

import math
from collections.abc import Iterable, Mapping
from inspect import unwrap
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from toynet.training.precision import coarse
from toynet.training.schedules import Schedule
from toynet.training.spec import OptimSpec

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def build(
    model: nn.Module, spec: OptimSpec, shares: Mapping[str, float] | None = None
) -> tuple[Optimizer, ...]:
    """The optimisers that together move every trainable weight once a step.

    Weight decay acts on matrices and kernels only, never on biases or batch norm. shares: how much of
    training each of the model's outermost parts learns for, 1 where it is not named; see `set_rate`.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    kernels = [p for p in trainable if p.ndim >= 2]
    rest = [p for p in trainable if p.ndim < 2]
    share_of = {
        id(p): share for name, share in (shares or {}).items() for p in model.get_submodule(name).parameters()
    }
    if spec.name == "sgd":
        nesterov = spec.nesterov and spec.momentum > 0
        groups = _groups(kernels, rest, spec.weight_decay, share_of)
        return (Momentum(groups, spec.lr, momentum=spec.momentum, nesterov=nesterov, fused=True),)
    if spec.name == "muon":
        hidden = _hidden_convolutions(model)
        taken = {id(p) for p in hidden}
        kernels = [p for p in kernels if id(p) not in taken]
        muon = Muon(
            _by_share(hidden, share_of),
            spec.lr,
            spec.momentum,
            nesterov=spec.nesterov,
            weight_decay=spec.weight_decay,
            unit_rows=spec.unit_rows,
            ns_steps=spec.ns_steps,
        )
        if spec.aux == "sgd":
            return muon, _sgd_of_the_rest(kernels, rest, spec, share_of)
        groups = _groups(kernels, rest, spec.weight_decay, share_of)
        return muon, _adam(groups, spec, lr=spec.aux_lr, decoupled=True)
    groups = _groups(kernels, rest, spec.weight_decay, share_of)
    return (_adam(groups, spec, lr=spec.lr, decoupled=spec.name == "adamw"),)


def set_rate(optimizers: Iterable[Optimizer], schedule: Schedule, step: int, factor: float = 1.0) -> None:
    """Set every group's rate for `step`: the schedule's multiple times `factor` of the one it was built with.

    A group that learns for a share of training only goes through the whole schedule in that share, as in
    FreezeOut, so that it does not stop at a high rate.
    """
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            multiple = schedule(int(step / group["share"])) * factor
            group["lr"] = group.setdefault("full_lr", group["lr"]) * multiple


class _Uncompiled(Optimizer):
    """torch's optimisers without its compiler, which would take 0.7 s of every start to import.

    torch decorates these methods so that its compiler passes over them, and imports it for that; nothing here
    compiles a step.
    """

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        unwrap(super().add_param_group)(self, param_group)

    def step(self, closure: Any = None) -> Any:
        with torch.no_grad():
            return unwrap(super().step)(self, closure)


class Momentum(_Uncompiled, torch.optim.SGD):
    """torch's SGD."""


class KerasAdam(_Uncompiled, torch.optim.Adam):
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

    def _init_group(self, group: dict[str, Any], *lists: Any) -> Any:
        """What torch collects for a step; tensors in channels-last order as views that lie in order.

        torch 2.13 copies the others, before and after, which doubles the time of a step.
        """
        found = super()._init_group(group, *lists)  # type: ignore[no-untyped-call]
        weights, gradients, averages, squares, *_ = lists
        for place, parts in enumerate(zip(weights, gradients, averages, squares, strict=True)):
            if all(map(_in_channels_last_order, parts)):
                views = (part.permute(0, 2, 3, 1) for part in parts)
                weights[place], gradients[place], averages[place], squares[place] = views
        return found


def _in_channels_last_order(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)


class Muon(_Uncompiled):
    """Momentum whose update is made orthogonal and scaled by sqrt(max(1, rows/columns)).

    Takes weights of two or more dimensions; the first dimension makes the rows. With `unit_rows` each weight
    is first rescaled to the Frobenius norm that orthonormal rows would give it, as airbench does.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float,
        *,
        nesterov: bool,
        weight_decay: float,
        unit_rows: bool = False,
        ns_steps: int = 5,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
        defaults |= {"unit_rows": unit_rows, "ns_steps": ns_steps}
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
                # A row's order is all one to it, and in the order of memory nothing is copied.
                if _in_channels_last_order(update):
                    weight, update = weight.permute(0, 2, 3, 1), update.permute(0, 2, 3, 1)
                matrix = update.flatten(1)
                scale = math.sqrt(max(1.0, matrix.shape[0] / matrix.shape[1]))
                if group["unit_rows"]:
                    weight.mul_(math.sqrt(len(weight)) / weight.norm())
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(
                    orthogonalise(matrix, group["ns_steps"]).view(weight.shape), alpha=-group["lr"] * scale
                )


def orthogonalise(matrix: Tensor, steps: int) -> Tensor:
    """About U V^T of the singular value decomposition, by `steps` quintic Newton-Schulz iterations.

    Each raises small singular values about 3.4 times; those that five do not raise to 1 are left below it.
    In bf16 where the device has instructions for it, else in fp32.
    """
    x = matrix.to(coarse(matrix.device.type))
    tall = x.shape[0] > x.shape[1]
    if tall:
        x = x.T
    x = x / x.norm().clamp(min=1e-7)
    if x.dtype != torch.bfloat16 and x.shape[1] >= 2 * x.shape[0]:
        x = _iterated(x @ x.T, steps) @ x
    else:
        a, b, c = _NEWTON_SCHULZ
        for _ in range(steps):
            gram = x @ x.T
            x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.T if tall else x).to(matrix.dtype)


def _iterated(gram: Tensor, steps: int) -> Tensor:
    """What all iterations together multiply a matrix by, from its product with its own transpose.

    Every iteration multiplies by a polynomial of that product, so they need no other; where rows are few that
    is less than half the arithmetic, but it takes more digits than bf16 has.
    """
    whole = factor = _iteration(gram)
    for _ in range(steps - 1):
        gram = factor @ gram @ factor
        factor = _iteration(gram)
        whole = factor @ whole
    return whole


def _iteration(gram: Tensor) -> Tensor:
    """What one iteration multiplies by."""
    a, b, c = _NEWTON_SCHULZ
    factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal().add_(a)
    return factor


def _adam(groups: list[dict[str, Any]], spec: OptimSpec, *, lr: float, decoupled: bool) -> Optimizer:
    return KerasAdam(
        groups,
        lr=lr,
        betas=(spec.beta1, spec.beta2),
        keras_eps=spec.eps,
        decoupled_weight_decay=decoupled,
    )


def _sgd_of_the_rest(
    kernels: list[nn.Parameter], rest: list[nn.Parameter], spec: OptimSpec, share_of: Mapping[int, float]
) -> Optimizer:
    """Two rates, as airbench has it, and a decay that takes the same share of all."""
    groups: list[dict[str, Any]] = []
    for parameters, lr in ((kernels, spec.aux_lr), (rest, spec.aux_bias_lr)):
        own = {"lr": lr, "weight_decay": spec.aux_decay / lr}
        groups += [group | own for group in _by_share(parameters, share_of)]
    momentum = spec.aux_momentum
    return Momentum(groups, spec.aux_lr, momentum=momentum, nesterov=momentum > 0, fused=True)


def _groups(
    kernels: list[nn.Parameter],
    rest: list[nn.Parameter],
    weight_decay: float,
    share_of: Mapping[int, float],
) -> list[dict[str, Any]]:
    decayed = [group | {"weight_decay": weight_decay} for group in _by_share(kernels, share_of)]
    return decayed + [group | {"weight_decay": 0.0} for group in _by_share(rest, share_of)]


def _by_share(parameters: list[nn.Parameter], share_of: Mapping[int, float]) -> list[dict[str, Any]]:
    """A group for each share of training, in the parameters' order."""
    groups: dict[float, list[nn.Parameter]] = {}
    for parameter in parameters:
        groups.setdefault(share_of.get(id(parameter), 1.0), []).append(parameter)
    return [{"params": members, "share": share} for share, members in groups.items()]


def _hidden_convolutions(model: nn.Module) -> list[nn.Parameter]:
    """Every convolution's kernel but the first one's, which reads pixels."""
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    return [m.weight for m in convolutions[1:] if isinstance(m.weight, nn.Parameter)]
