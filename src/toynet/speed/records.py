"""What `bench` finds, as typed records; `--json` prints `BenchResult`."""

import statistics
from collections.abc import Sequence
from typing import Any, Self

from toynet.core.records import Record
from toynet.training.choice import Timing
from toynet.training.precision import Precision
from toynet.training.setup import Setup


class Spread(Record):
    """The median of repeated measurements and their quartiles."""

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Of at least one value."""
        if len(values) == 1:
            return cls(median=values[0], lower=values[0], upper=values[0])
        lower, median, upper = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median=median, lower=lower, upper=upper)


class Rate(Record):
    """GFLOP/s of one computation, the median of several; none where it would have taken too long."""

    what: str
    fp32_gflops: float | None
    bf16_gflops: float | None


class Limits(Record):
    """What the machine can do on these threads: its best matrix product, in fp32 its best convolution too."""

    rates: tuple[Rate, ...]
    fp32_gflops: float
    bf16_gflops: float

    def of(self, precision: Precision) -> float:
        return self.bf16_gflops if precision == "bf16" else self.fp32_gflops


class Chosen(Record):
    """The set-up that everything else was measured in, and the times that it was chosen by."""

    setup: Setup
    why: str
    timings: tuple[Timing, ...]
    """Forward and backward pass of one micro-batch."""

    remembered: bool
    """Whether `train` will find it."""


class Part(Record):
    """One part of a training step, in milliseconds, and its share of the step."""

    name: str
    ms: Spread
    share: float


class Training(Record):
    """The loop's own step, on random images, `steps` times."""

    batch_size: int
    micro_batch: int | None
    steps: int
    step_ms: Spread
    passes_ms: Spread
    """Forward and backward of a step together, from the same steps as `step_ms`."""

    images_per_s: Spread
    parts: tuple[Part, ...]
    peak_resident_mib: float
    """The most memory that the process occupied meanwhile; since its start, where the system cannot tell."""


class Inference(Record):
    """The recipe's own evaluation, test-time augmentation included."""

    batch_size: int
    tta: str
    views: int
    """Passes over each image."""

    images_per_s: Spread


class Achieved(Record):
    """GFLOP/s of useful arithmetic, and their ratio to the limit of the chosen arithmetic.

    Useful: two FLOPs for each multiply-accumulate of a convolution or dense layer, three times in training.
    """

    what: str
    gflops: float
    of_limit: float


class MicroBatch(Record):
    """A batch's forward and backward pass in pieces of `images` images."""

    images: int
    ms: float


class BenchResult(Record):
    """All that one call of `bench` measured, and on what."""

    recipe: str
    changes: dict[str, Any]
    model: str
    widths: tuple[int, ...]
    image_shape: tuple[int, int, int]
    parameters: int
    macs: int
    device: str
    chosen: Chosen
    limits: Limits
    training: Training
    inference: Inference
    achieved: tuple[Achieved, ...]
    micro_batches: tuple[MicroBatch, ...]
    advice: tuple[str, ...]
    environment: dict[str, Any]
