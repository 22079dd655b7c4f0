"""The verb that shows what augmentation does."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from toynet.augment import pipeline
from toynet.core.errors import UsageError
from toynet.core.reporter import Reporter, Silent
from toynet.reporting.gallery import draw_preview
from toynet.runs import subject
from toynet.runs.recipe import Recipe


def preview(
    recipe: str = "report/toynet20_init",
    path: str | Path = "preview.png",
    *,
    data: str | None = None,
    index: int = 0,
    overrides: Mapping[str, Any] | None = None,
    data_root: Path | None = None,
    reporter: Reporter | None = None,
) -> Path:
    """Draw training image number `index` augmented 24 times as the recipe does, then standardised."""
    changes = dict(overrides or {}) | ({"data.name": data} if data is not None else {})
    path, wanted = Path(path), Recipe.load(recipe, changes)
    # Nothing is validated here, so no image need be set apart.
    every = wanted.model_copy(update={"data": wanted.data.model_copy(update={"protocol": "full"})})
    about = subject.read(every, data_root, reporter or Silent())
    part = about.split.train
    if not 0 <= index < len(part):
        raise UsageError(f"index {index}: choose one of the training images 0..{len(part) - 1}")
    count = 24
    standardise = subject.standardiser(about.card, "cpu")
    images = torch.from_numpy(part.images[index : index + 1]).expand(count, -1, -1, -1).contiguous()
    labels = torch.from_numpy(part.labels[index : index + 1]).expand(count)
    draws = pipeline.draw(wanted.augment, np.arange(count), seed=wanted.train.seed, epoch=0)
    moved, _ = pipeline.augment(
        wanted.augment, standardise(images), labels, draws, slice(count), classes=len(about.card.classes)
    )
    standardised = moved.permute(0, 2, 3, 1).numpy()
    shown = standardised * np.array(about.card.std) + np.array(about.card.mean)
    title = f"{about.card.classes[part.labels[index]]}, number {index} of {about.card.name}"
    draw_preview(part.images[index], _bytes(shown), standardised, path, title)
    return path


def _bytes(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.asarray(values.round().clip(0, 255), np.uint8)
