"""How long a run is: the images and the steps of every epoch, and where a step stands among them."""

import math
from dataclasses import dataclass

from toynet.data import batches
from toynet.training.spec import TrainSpec


@dataclass(frozen=True)
class Course:
    """The epochs of a run, as planned."""

    counts: tuple[int, ...]
    """Images of each epoch: all of them, or fewer where easy ones are left out."""

    passes: tuple[int, ...]
    """Forward passes of each epoch."""

    steps: int
    """Updates in all."""

    steps_per_epoch: int
    """Updates of an epoch that leaves nothing out."""

    @classmethod
    def of(cls, spec: TrainSpec, images: int) -> "Course":
        """The course of a run over `images` training images."""
        counts = tuple(spec.images_in(epoch, images) for epoch in range(spec.epochs))
        steps = sum(batches.batch_count(count, spec.batch_size) for count in counts)
        passes = tuple(passes_of(count, spec) for count in counts)
        return cls(counts, passes, steps, batches.batch_count(images, spec.batch_size))

    @property
    def images(self) -> int:
        """Of all epochs together."""
        return sum(self.counts)

    def progress(self, step: int) -> float:
        """The share of training that is done after `step` updates."""
        return step / self.steps

    def place(self, step: int) -> int:
        """Where a schedule of whole epochs stands after `step` updates."""
        return step * len(self.counts) * self.steps_per_epoch // self.steps


def passes_of(count: int, spec: TrainSpec) -> int:
    """The forward passes of an epoch of `count` images: one for each batch, or piece of one."""
    whole, rest = divmod(count, spec.batch_size)
    piece = spec.micro_batch or spec.batch_size
    return whole * math.ceil(spec.batch_size / piece) + math.ceil(rest / piece)
