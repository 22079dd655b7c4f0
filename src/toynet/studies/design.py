"""From a study's file to its arms: recipes, what each changes, and whether a comparison would be fair."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toynet.core.errors import UsageError
from toynet.core.records import Record
from toynet.core.wording import setting
from toynet.runs.differences import differing
from toynet.runs.recipe import Recipe
from toynet.stats import factorial
from toynet.studies.spec import CONTROL, Cost, StudySpec
from toynet.training.setup import CHOICES

_SETUP = tuple(f"train.{key}" for key in CHOICES)
_NO_FACTOR = ("name", "train.seed", "train.threads", *_SETUP)
"""Keys that a comparison does not count: the seeds are the replicates, and all arms share a set-up, but for
what an arm states itself."""

_NEAR = 0.05
"""Parameters, MACs or time that differ by no more than this share count as equal."""


class Change(Record):
    """One key that differs between two arms; none where an arm does not have it."""

    key: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.key}: {setting(self.before)} -> {setting(self.after)}"


class Size(Record):
    """What a run of an arm costs. samples: training images seen; macs: of an image in full size, forward."""

    epochs: int
    samples: int
    parameters: int
    macs: int


class Arm(Record):
    """One of the things that are compared. `against` is the arm it is compared with; none for the control."""

    name: str
    against: str | None
    recipe: Recipe
    note: str = ""
    changes: tuple[Change, ...] = ()
    levels: tuple[int, ...] = ()
    """Factorial studies: 0 or 1 for each factor."""

    @property
    def factors(self) -> tuple[str, ...]:
        """What is changed. A schedule is one thing, with the settings that only it has."""
        other = any(change.key == "schedule.name" for change in self.changes)
        keys = (
            "schedule" if other and change.key.startswith("schedule.") else change.key
            for change in self.changes
        )
        return tuple(dict.fromkeys(keys))


def arms(spec: StudySpec) -> tuple[Arm, ...]:
    """The control first, then the variants in the order of the file.

    Raises `UsageError` that names the study and the arm for a key or a value that a recipe would refuse.
    """
    if spec.factors:
        return tuple(_cells(spec))
    found = [Arm(name=CONTROL, against=None, recipe=_recipe(spec, CONTROL, spec.recipe, {}))]
    for variant in spec.variants:
        recipe = _recipe(spec, variant.name, variant.recipe or spec.recipe, variant.changes)
        base = found[-1] if spec.chain else found[0]
        stated = [key for key in (*spec.variant_keys(base.name), *variant.changes) if key in _SETUP]
        changes = differences(base.recipe, recipe, also=stated)
        found.append(
            Arm(name=variant.name, against=base.name, recipe=recipe, note=variant.note, changes=changes)
        )
    return tuple(found)


def differences(before: Recipe, after: Recipe, *, also: Sequence[str] = ()) -> tuple[Change, ...]:
    """The keys in which two recipes differ, but for the seed and how a step is carried out; `also` count."""
    return tuple(
        Change(key=key, before=old, after=new)
        for key, (old, new) in differing(before, after).items()
        if key in also or key not in _NO_FACTOR
    )


def settings_that_count(recipe: Recipe) -> dict[str, Any]:
    """All but the seed and how a step is carried out."""
    return {key: value for key, value in recipe.settings().items() if key not in _NO_FACTOR}


def unfair(before: Size, after: Size) -> dict[Cost, tuple[int, int]]:
    """The costs in which two arms differ: epochs and samples at all, parameters and MACs by more than 5 %."""
    found: dict[Cost, tuple[int, int]] = {}
    exact: tuple[Cost, ...] = ("epochs", "samples")
    for key in (*exact, "parameters", "macs"):
        old, new = getattr(before, key), getattr(after, key)
        if old != new and (key in exact or abs(new - old) > _NEAR * old):
            found[key] = (old, new)
    return found


def switches(spec: StudySpec) -> dict[str, NDArray[np.bool_]]:
    """Factorial studies: for each factor and each arm, in order, whether it has the second of its values."""
    free = [factor for factor in spec.factors if factor not in spec.generated]
    found = factorial.design(free, spec.generated)
    return {factor: found[factor] for factor in spec.factors}


def _cells(spec: StudySpec) -> Iterator[Arm]:
    base: Recipe | None = None
    for row in zip(*switches(spec).values(), strict=True):
        levels = tuple(int(on) for on in row)
        changes = {key: values[on] for (key, values), on in zip(spec.factors.items(), levels, strict=True)}
        label = " ".join(f"{key.rpartition('.')[2]}={setting(value)}" for key, value in changes.items())
        name = CONTROL if base is None else label
        recipe = _recipe(spec, name, spec.recipe, changes)
        against, differ = (
            (None, ()) if base is None else (CONTROL, differences(base, recipe, also=list(spec.factors)))
        )
        base = base or recipe
        yield Arm(name=name, against=against, recipe=recipe, note=label, changes=differ, levels=levels)


def _recipe(spec: StudySpec, arm: str, name: str, changes: dict[str, Any]) -> Recipe:
    try:
        recipe = Recipe.load(name, {**spec.everywhere, **changes})
        if recipe.data.protocol == "full":
            raise UsageError(
                'data.protocol = "full" validates nothing, and studies read validation; set another for all '
                "arms, such as --set data.protocol=standard"
            )
        return recipe.with_changes({"eval.test": False})
    except UsageError as error:
        raise UsageError(f"study {spec.name}, {arm}: {error}") from None
