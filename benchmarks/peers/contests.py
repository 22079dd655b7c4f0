"""What is compared: the jobs, and who does each of them in which setting."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from toynet.models.architectures import architecture


@dataclass(frozen=True)
class Job:
    """One model at one batch size. parameters: with moving statistics, as Keras counts them."""

    name: str
    model: str
    widths: tuple[int, int, int, int]
    batch_size: int
    parameters: int

    @property
    def title(self) -> str:
        return (
            f"{architecture(self.model).title} [{self.widths[0]}..{self.widths[-1]}], batch {self.batch_size}"
        )


@dataclass(frozen=True)
class Contestant:
    """A library in one setting.

    program: the module here whose `build(job, options, pool)` makes its `Trainer`. options: its arguments.
    default: how its users run it who change nothing. needs_compiler: torch's inductor writes C++.
    """

    library: str
    setting: str
    program: str
    backend: str = ""
    default: bool = False
    needs_compiler: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.library}: {self.setting}"

    @property
    def bf16(self) -> bool:
        """Whether it asks for bf16, which not every processor has."""
        return bool(self.options.get("bf16"))


@dataclass(frozen=True)
class Trainer:
    """A model ready to learn.

    train: makes about so many steps; returns the number of images trained on and the moment
    (`time.perf_counter`) at which that work was done. detail: what was decided on the way, such as ToyNet's
    set-up.
    """

    train: Callable[[int], tuple[int, float]]
    parameters: int
    detail: str = ""


JOBS = (
    Job("toynet14-64-512-batch128", "toynet14", (64, 128, 256, 512), 128, 6_383_050),
    Job("toynet14-64-512-batch32", "toynet14", (64, 128, 256, 512), 32, 6_383_050),
    Job("toynet18-16-128-batch128", "toynet18", (16, 32, 64, 128), 128, 702_970),
)


def _toynet(setting: str, *, default: bool = False, **changes: Any) -> Contestant:
    return Contestant("ToyNet", setting, "ours", default=default, options={"changes": changes})


def _torch(setting: str, *, default: bool = False, **options: Any) -> Contestant:
    compiled = options.get("compiled", False)
    return Contestant(
        "plain PyTorch", setting, "plain_torch", default=default, needs_compiler=compiled, options=options
    )


def _keras(backend: str, setting: str, *, default: bool = False, **options: Any) -> Contestant:
    library = {"tensorflow": "Keras on TensorFlow", "jax": "Keras on JAX", "torch": "Keras on torch"}[backend]
    compiled = backend == "torch" and options.get("jit_compile", False)
    return Contestant(library, setting, "toynet_keras", backend, default, compiled, options)


REPORT_AUGMENTATION = {"augment": {"rotate_deg": 15.0, "shift": 0.1, "flip": "random"}}

CONTESTANTS = (
    _toynet("default", default=True),
    _toynet("with the report's augmentation", **REPORT_AUGMENTATION),
    _toynet("fp32", **{"train.precision": "fp32"}),
    _torch("default", default=True),
    _torch("channels-last", channels_last=True),
    _torch("torch.compile, channels-last, fused Adam", compiled=True, channels_last=True, fused=True),
    _torch("channels-last, bf16, fused Adam", channels_last=True, bf16=True, fused=True),
    _torch(
        "torch.compile, channels-last, bf16, fused Adam",
        compiled=True,
        channels_last=True,
        bf16=True,
        fused=True,
    ),
    _keras("tensorflow", "default", default=True),
    _keras("tensorflow", "mixed_bfloat16", bf16=True),
    _keras("tensorflow", "jit_compile (XLA)", jit_compile=True),
    _keras("tensorflow", "jit_compile (XLA), mixed_bfloat16", jit_compile=True, bf16=True),
    _keras("jax", "default", default=True),
    _keras("jax", "mixed_bfloat16", bf16=True),
    _keras("torch", "default", default=True),
    _keras("torch", "jit_compile (inductor)", jit_compile=True),
    _keras("torch", "mixed_bfloat16", bf16=True),
    _keras("torch", "jit_compile (inductor), mixed_bfloat16", jit_compile=True, bf16=True),
)
