"""How a step is carried out: arithmetic, kernels, memory order, threads. Results differ by rounding only."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, cast

import torch
from torch import nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from toynet.core.records import Record
from toynet.models.chain import use_compiled
from toynet.training.precision import Precision
from toynet.training.replay import Replayed
from toynet.training.spec import TrainSpec

Kernels = Literal["direct", "compiled"]
MemoryFormat = Literal["channels_last", "contiguous"]

CHOICES = "precision", "kernels", "memory_format"
"""What a recipe may leave at auto in `[train]`."""

_LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


class Setup(Record):
    """One way to carry out a step."""

    precision: Precision
    kernels: Kernels
    """`direct`: torch's; `compiled`: `toynet.kernels` where they apply, `torch.compile` on CUDA."""

    memory_format: MemoryFormat
    """The order of images, maps and kernels in memory: (N, H, W, C) or (N, C, H, W)."""

    threads: int

    @property
    def layout(self) -> torch.memory_format:
        """`memory_format` in torch's words."""
        return _LAYOUTS[self.memory_format]

    @property
    def boldness(self) -> tuple[bool, ...]:
        """Orders set-ups from the plainest, whose arithmetic is the most exact, on."""
        return self.precision == "bf16", self.kernels == "compiled", self.memory_format == "contiguous"

    @property
    def name(self) -> str:
        """For people, without the threads: `bf16, compiled kernels, channels_last`."""
        return f"{self.precision}, {self.kernels} kernels, {self.memory_format}"

    def __str__(self) -> str:
        return f"{self.name}, {self.threads} thread{'s' if self.threads > 1 else ''}"


def stated(spec: TrainSpec) -> Setup:
    """The set-up that a resolved `[train]` table states; on torch's own threads where it names no number."""
    values = {key: getattr(spec, key) for key in CHOICES}
    if "auto" in values.values():
        raise ValueError("the recipe's set-up has not been resolved")
    return Setup.model_validate({**values, "threads": spec.threads or torch.get_num_threads()})


def fits(setup: Setup, spec: TrainSpec) -> bool:
    """Whether `setup` is what `spec` asks for, wherever that leaves nothing at auto."""
    kept = (getattr(spec, key) in ("auto", getattr(setup, key)) for key in CHOICES)
    return all(kept) and spec.threads in (None, setup.threads)


def candidates(
    spec: TrainSpec,
    threads: int,
    *,
    compiled: bool,
    precisions: tuple[Precision, ...],
    formats: tuple[MemoryFormat, ...],
) -> tuple[Setup, ...]:
    """What may be chosen for `spec`, from the plainest to the boldest; at least one.

    compiled: whether there are compiled kernels; they need channels_last. precisions, formats: what to
    consider where `spec` names none. Of two precisions only the last is considered with compiled kernels.
    """
    orders = formats if spec.memory_format == "auto" else (spec.memory_format,)
    precisions = precisions if spec.precision == "auto" else (spec.precision,)
    ways: list[tuple[Precision, Kernels, MemoryFormat]]
    ways = [(precision, "direct", order) for precision in precisions for order in orders]
    if compiled or spec.kernels == "compiled":
        ways.append((precisions[-1], "compiled", "channels_last"))
    setups = (
        Setup(precision=precision, kernels=kernels, memory_format=order, threads=threads)
        for precision, kernels, order in ways
    )
    return tuple(setup for setup in setups if fits(setup, spec.model_copy(update={"threads": None})))


def prepare(model: nn.Module, setup: Setup) -> None:
    """Give `model` the kernels and the memory order of `setup`, in place."""
    use_compiled(model, setup.kernels == "compiled" and not _on_gpu(model))
    convert_conv2d_weight_memory_format(model, setup.layout)


def in_steps(model: nn.Module, setup: Setup, *, alone: bool = True) -> nn.Module:
    """What a training step calls in place of `model`; it has the same weights.

    On a GPU compiled kernels are made by `torch.compile`, when first called with a size of batch, and on CUDA
    passes are recorded and replayed; not where ranks talk to each other in the middle of one (`alone`).
    """
    if setup.kernels == "compiled" and _on_gpu(model):
        model = cast(nn.Module, torch.compile(model, dynamic=False))
    on_cuda = any(parameter.is_cuda for parameter in model.parameters())
    return Replayed(model) if alone and on_cuda else model


def _on_gpu(model: nn.Module) -> bool:
    return any(parameter.device.type != "cpu" for parameter in model.parameters())


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    """Compute on `count` threads, then on as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
