"""The pictures of one run, drawn from what its folder holds."""

from pathlib import Path

import numpy as np

from toynet.evaluation.metrics import confusion, log_softmax
from toynet.reporting.charts import draw_calibration, draw_confusion, draw_per_class
from toynet.reporting.curves import draw_curves
from toynet.reporting.gallery import draw_gallery
from toynet.runs.folder import RunFolder


def draw_run(folder: RunFolder) -> list[Path]:
    """Draw (again) the figures of a run that has been evaluated; returns their paths."""
    figures = folder.figures
    figures.mkdir(exist_ok=True)
    recipe, arrays = folder.recipe(), folder.predictions()
    classes = [str(name) for name in arrays["classes"]]
    part = "test" if "test_logits" in arrays else "val"
    logits, labels, rows = arrays[f"{part}_logits"], arrays[f"{part}_labels"], arrays["gallery_rows"]
    probabilities = np.exp(log_softmax(logits))
    table = confusion(logits, labels)
    title = f"{recipe.name}, {recipe.model.name} on {recipe.data.name}, seed {recipe.train.seed}"
    draw_curves(folder.metrics(), figures / "curves.png", title)
    draw_curves(folder.metrics(), figures / "curves.svg", title)
    draw_confusion(table, classes, figures / "confusion.png")
    draw_per_class(table, classes, figures / "per-class.png")
    draw_calibration(probabilities, labels, figures / "calibration.png")
    draw_gallery(
        arrays["gallery_images"],
        probabilities[rows],
        labels[rows],
        classes,
        figures / "gallery.png",
        "test" if part == "test" else "validation",
    )
    return sorted(figures.iterdir())
