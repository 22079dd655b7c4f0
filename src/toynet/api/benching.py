"""The verb that measures this machine."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toynet.core.errors import UsageError
from toynet.core.reporter import Reporter, Silent
from toynet.runs.recipe import Recipe
from toynet.speed.bench import MOST_SECONDS
from toynet.speed.bench import bench as measure
from toynet.speed.records import BenchResult


def bench(
    recipe: str = "default",
    *,
    data: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    threads: int | None = None,
    seconds: float = 5.0,
    remember: bool | None = None,
    data_root: Path | None = None,
    reporter: Reporter | None = None,
) -> BenchResult:
    """How fast this machine trains a recipe's model, where the time goes, and how near that is to the limit.

    Images are random; only the shape of the user's own data set is read. The fastest set-up is chosen first,
    among what the recipe leaves at auto, and kept for `train`: always, never, or, with `remember` at none,
    unless other work keeps the cores busy. Each part is measured for about `seconds`. `data` and `threads`
    are short for overrides, as in `train`. Raises `ToyNetError` and its kinds.
    """
    if not 0 < seconds <= MOST_SECONDS:
        raise UsageError(f"seconds must be above 0 and at most {MOST_SECONDS}, got {seconds:g}")
    changes = dict(overrides or {})
    changes |= {"data.name": data} if data is not None else {}
    changes |= {"train.threads": threads} if threads is not None else {}
    return measure(
        Recipe.load(recipe, changes),
        changes=changes,
        seconds=seconds,
        keep=remember,
        data_root=data_root,
        reporter=reporter or Silent(),
    )
