"""What can be trained: the architectures with their cost, and the shipped recipes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toynet.core.errors import UsageError
from toynet.core.files import write_atomic
from toynet.models import catalog
from toynet.models import diagram as drawings
from toynet.models.architectures import ImageShape
from toynet.models.cost import ModelCost, cost
from toynet.models.spec import ModelSpec
from toynet.runs.recipe import Recipe, shipped

recipes = shipped
"""Under the name that users know it by; `Recipe.load` reads one."""

_USUAL_SHAPE = (32, 32, 3)


def architectures() -> dict[str, ModelCost]:
    """What each architecture costs at its default widths, for 10 classes and 32x32 colour images."""
    specs = {name: ModelSpec(name=name) for name in catalog.names()}
    return {name: _cost(spec, 10, _USUAL_SHAPE) for name, spec in specs.items()}


def architecture(
    name: str,
    *,
    overrides: Mapping[str, Any] | None = None,
    classes: int = 10,
    image_shape: ImageShape = _USUAL_SHAPE,
    diagram: str | Path | None = None,
) -> ModelCost:
    """One architecture layer by layer, for images of (height, width, channels).

    `overrides`: `model.*` settings. `diagram`: an SVG to draw its stacks and blocks into. Raises `UsageError`
    for an unknown name or setting, and for images that the network cannot take.
    """
    changes = dict(overrides or {})
    if foreign := [key for key in changes if not key.startswith("model.")]:
        raise UsageError(f"{foreign[0]}: only model.* settings shape a model")
    if image_shape[2] not in (1, 3):
        raise UsageError(f"channels {image_shape[2]}: images have 1 channel or 3")
    target = None if diagram is None else Path(diagram)
    if target is not None and target.suffix != ".svg":
        raise UsageError(f"diagram {target}: the drawing is an SVG, name it so")
    spec = Recipe.load("default", {**changes, "model.name": name}).model
    found = _cost(spec, classes, image_shape)
    if target is not None:
        write_atomic(target, drawings.diagram(spec, classes=classes, image_shape=image_shape))
    return found


def _cost(spec: ModelSpec, classes: int, image_shape: ImageShape) -> ModelCost:
    return cost(catalog.build(spec, classes=classes, image_shape=image_shape, seed=0), image_shape)
