"""Which saved layer is which of ours, told by order and shape alone.

A file of weights without a description lists layers in the order of the model's `layers`: as they were
created, or, in a functional model, by their distance from the output. Both leave one thing open, where in
its block the layers of a shortcut stand. Every order that code may have given them is tried for the whole
network; the one whose shapes all fit is taken, and where two fit that differ, none is.
"""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Literal

from torch import nn

from toynet.core.errors import CheckpointError
from toynet.models.blocks import ResidualBlock
from toynet.models.from_keras.saved import KINDS, SavedLayer, SavedModel
from toynet.models.from_keras.slots import Slot

Place = Literal["created first", "created last", "as deep, before", "as deep, behind"]
PLACES: tuple[Place, ...] = ("created first", "created last", "as deep, before", "as deep, behind")
"""Of a shortcut's layers: right where it branches off, behind the branch, or beside the layers of the branch
that are as far from the addition, before or behind them."""

Pairs = list[tuple[Slot, SavedLayer]]


def match_by_order(saved: SavedModel, model: nn.Module, name: str) -> Pairs:
    """Every slot of `model` (`name` in errors) with its layer; `CheckpointError` where that stays open."""
    attempts = [_pair(saved, list(_slots(model, place)), name) for place in PLACES]
    whole = [pairs for pairs, problem in attempts if problem is None]
    if not whole:
        # The order that came furthest has the most to say.
        raise CheckpointError(max(attempts, key=lambda attempt: len(attempt[0]))[1])
    for other in whole[1:]:
        for (slot, layer), (_, rival) in zip(_sorted(whole[0]), _sorted(other), strict=True):
            if layer is not rival:
                raise CheckpointError(
                    f"{saved.file}: {slot.path} may be {layer.name} or {rival.name}, both "
                    f"{_shapes(layer)}; save the whole model (model.save), which tells"
                )
    return whole[0]


def match_by_name(saved: SavedModel, model: nn.Module) -> Pairs | None:
    """The same where layers have our names, a dot written as two underscores; none where they have not."""
    named = {layer.name.replace("__", "."): layer for layer in saved.layers}
    slots = [slot for path, part in model.named_modules() if (slot := Slot.of(path, part))]
    if named.keys() != {slot.path for slot in slots}:
        return None
    return [(slot, named[slot.path]) for slot in slots]


def _pair(saved: SavedModel, slots: list[Slot], name: str) -> tuple[Pairs, str | None]:
    """As many pairs as fit, and what stopped them."""
    pairs: Pairs = []
    for kind, word in KINDS.items():
        theirs = [layer for layer in saved.layers if layer.kind == kind]
        ours = [slot for slot in slots if slot.kind == kind]
        for slot, layer in zip_longest(ours, theirs):
            if slot is None or layer is None:
                at = f"layer {layer.name} {_shapes(layer)} is too many" if layer else f"none fits {slot.path}"
                return pairs, (
                    f"{saved.file} has {len(theirs)} layers of kind {word}, {name} {len(ours)}: {at}"
                )
            if problem := slot.misfit(layer):
                return pairs, f"{saved.file} does not fit {name}: layer {layer.name} has {problem}"
            pairs.append((slot, layer))
    return pairs, None


def _slots(model: nn.Module, place: Place, prefix: str = "") -> Iterator[Slot]:
    """All slots in the order that layers have where shortcuts stand in `place`."""
    for key, part in model.named_children():
        path = f"{prefix}{key}"
        if isinstance(part, ResidualBlock):
            yield from _block(part, f"{path}.", place)
        elif slot := Slot.of(path, part):
            yield slot
        else:
            yield from _slots(part, place, f"{path}.")


def _block(block: ResidualBlock, prefix: str, place: Place) -> Iterator[Slot]:
    yield from _slots(block.entry, place, f"{prefix}entry.")
    branch = _deep(block.branch, f"{prefix}branch.")
    side = [] if block.shortcut is None else _deep(block.shortcut, f"{prefix}shortcut.")
    if place == "created first":
        yield from (slot for _, slot in side + branch)
    elif place == "created last":
        yield from (slot for _, slot in branch + side)
    else:
        both = side + branch if place == "as deep, before" else branch + side
        yield from (slot for _, slot in sorted(both, key=lambda entry: -entry[0]))
    yield from _slots(block.exit, place, f"{prefix}exit.")


def _deep(chain: nn.Module, prefix: str) -> list[tuple[int, Slot]]:
    """The slots of a chain, each with its distance from the chain's end."""
    parts = list(chain.named_children())
    slots = [(len(parts) - at, Slot.of(f"{prefix}{key}", part)) for at, (key, part) in enumerate(parts)]
    return [(depth, slot) for depth, slot in slots if slot is not None]


def _sorted(pairs: Pairs) -> Pairs:
    return sorted(pairs, key=lambda pair: pair[0].path)


def _shapes(layer: SavedLayer) -> str:
    return str(next(iter(layer.shapes.values())))
