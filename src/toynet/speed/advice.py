"""What would make training faster, but is not ours to change."""

from typing import Any

from toynet.runs.folder import DataCard
from toynet.runs.recipe import Recipe
from toynet.runs.setups import Trial
from toynet.speed.records import MicroBatch
from toynet.training.choice import race
from toynet.training.precision import BF16_FLAGS
from toynet.training.setup import stated
from toynet.training.spec import TrainSpec

_SMALLEST, _HALVINGS = 32, 3
_WORTHWHILE = 1.05


def micro_batches(recipe: Recipe, card: DataCard) -> tuple[MicroBatch, ...]:
    """The recipe's whole batch forward and backward, in pieces of some sizes; the recipe's own size first."""
    setup, batch = stated(recipe.train), recipe.train.batch_size
    sizes = _sizes(recipe.train)
    if len(sizes) == 1:
        return ()
    trial = Trial(recipe, card, images=batch)
    found = race(sizes, lambda size: trial.seconds(setup, size))
    return tuple(MicroBatch(images=size, ms=seconds * 1e3) for size, seconds in found.items())


def advice(found: tuple[MicroBatch, ...], *, device: str, environment: dict[str, Any]) -> tuple[str, ...]:
    """Lines for people; none where there is nothing to say."""
    lines = [_on_micro_batches(found)]
    # Only Linux tells what a processor can do.
    if device == "cpu" and environment["system"].startswith("Linux"):
        lines.append(_on_bf16(environment["flags"]))
    return tuple(line for line in lines if line)


def _sizes(spec: TrainSpec) -> list[int]:
    """The size in use, then halves of the batch."""
    halves = [-(-spec.batch_size // 2**power) for power in range(_HALVINGS + 1)]
    used = spec.micro_batch or spec.batch_size
    return [used, *(size for size in halves if size >= _SMALLEST and size != used)]


def _on_micro_batches(found: tuple[MicroBatch, ...]) -> str | None:
    if not found:
        return None
    used, best = found[0], min(found, key=lambda size: size.ms)
    gain = used.ms / best.ms
    if gain < _WORTHWHILE:
        return None
    return (
        f"micro-batches of {best.images} images would take {100 * (1 - 1 / gain):.0f} % less time than "
        f"{used.images}; that changes batch-norm statistics, so set it in the recipe on purpose: "
        f"--set train.micro_batch={best.images}"
    )


def _on_bf16(flags: list[str]) -> str | None:
    if BF16_FLAGS & set(flags):
        return None
    return "this processor has no bf16 instructions: bf16 would be emulated, slowly"
