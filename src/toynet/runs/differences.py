"""What two recipes disagree on."""

from collections.abc import Iterator, Mapping
from typing import Any

from toynet.runs.recipe import Recipe, setting_names

Differences = dict[str, tuple[Any, Any]]
"""By dotted key: the value in the one and in the other, none where it has none."""


def differing(one: Recipe, other: Recipe) -> Differences:
    """The settings in which two recipes differ, names included.

    A table that only one of them has, such as `schedule.plateau`, is one setting, and so is one whose keys
    are not fixed, `train.freeze`.
    """
    here, there = (recipe.model_dump(mode="json") for recipe in (one, other))
    return dict(_walk(here, there, "", frozenset(setting_names())))


def value_of(recipe: Recipe, key: str) -> Any:
    """What a recipe has under a dotted key; none where it has nothing there."""
    value: Any = recipe.model_dump(mode="json")
    for step in key.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _walk(
    one: Mapping[str, Any], other: Mapping[str, Any], prefix: str, settings: frozenset[str]
) -> Iterator[tuple[str, tuple[Any, Any]]]:
    for name in (*one, *(name for name in other if name not in one)):
        key, here, there = f"{prefix}{name}", one.get(name), other.get(name)
        if here == there:
            continue
        if isinstance(here, dict) and isinstance(there, dict) and key not in settings:
            yield from _walk(here, there, f"{key}.", settings)
        else:
            yield key, (here, there)
