"""The page of one run: its score, curves, classes, calibration, diagnosis, and how to make it again."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from toynet.core.errors import ToyNetError
from toynet.core.records import RunResult
from toynet.core.wording import counted
from toynet.evaluation import metrics
from toynet.reporting import charts, readings, reproduction, spread, words
from toynet.reporting.inline import inline
from toynet.reporting.spread import Spread
from toynet.reporting.templating import Page, render
from toynet.runs.folder import RunFolder
from toynet.runs.reads import count_test_reads

_MOST_CONFUSED = 12
_STATUS = {
    "finished": "It ran to its end",
    "stopped_early": "It stopped early",
    "diverged": "It diverged",
    None: "It has not finished",
}


def run_page(run: RunFolder) -> Page:
    """All that the run's folder holds. Raises `ToyNetError` where a file of it is damaged."""
    return render("run", overview(run) | {"panels": _panels(run.name, run.metrics())} | classification(run))


def overview(run: RunFolder) -> dict[str, Any]:
    """What needs no drawing: score, facts, diagnosis, recipe. Raises `ToyNetError` as `run_page` does."""
    recipe, records, result = run.recipe(), run.metrics(), run.result()
    return {
        "name": run.name,
        "recipe": recipe,
        "result": result,
        "summary": _summary(result, len(records)),
        "scores": _scores(result),
        "facts": _facts(run, result),
        "findings": readings.findings(run, records, readings.class_scores(run, "val")),
        "toml": recipe.to_toml(),
        "command": f"toynet train recipe.toml --seed {recipe.train.seed}",
        "setting_out": _setting_out(run),
        "try_by": lambda change: readings.try_by(run, Path(run.name), *next(iter(change.items()))),
    }


def classification(run: RunFolder) -> dict[str, Any]:
    """How the images that score the run were classified: classes, confusion, calibration, pictures; all
    empty where it has no predictions. Raises `ToyNetError` as `run_page` does."""
    arrays = run.predictions() if (run.path / "predictions.npz").exists() else {}
    part = "test" if "test_logits" in arrays else "val" if "val_logits" in arrays else None
    return {
        "part": {"test": "test", "val": "validation", None: ""}[part],
        "classified": None if part is None else _classified(arrays, part),
        "pictures": _pictures(arrays, part) if part else (),
    }


def _summary(result: RunResult | None, epochs: int) -> str:
    """One sentence: the score first."""
    status = result.status if result else None
    if result is None or (result.test_accuracy is None and result.val_accuracy is None):
        reason = f": {result.reason}" if result and result.reason else ""
        return f"{_STATUS[status]}{reason}; there is no score after {counted(epochs, 'epoch')}."
    test = result.test_accuracy is not None
    score = result.test_accuracy if test else result.val_accuracy
    kind = "test" if test else "validation"
    return (
        f"{words.percent(score)} of the {kind} images are classified rightly after "
        f"{counted(result.epochs, 'epoch')}. {_STATUS[status]}. This is one seed: another would score "
        "differently, and whether a change to it helps is for a study to say."
    )


def _scores(result: RunResult | None) -> tuple[tuple[str, str], ...]:
    if result is None:
        return ()
    shown = [
        ("test accuracy", result.test_accuracy, words.percent(result.test_accuracy)),
        ("validation accuracy", result.val_accuracy, words.percent(result.val_accuracy)),
        ("training time", result.train_s, words.duration(result.train_s)),
        ("images a second", result.images_per_s, f"{result.images_per_s:,.0f}"),
    ]
    return tuple((label, text) for label, value, text in shown if value is not None)


def _facts(run: RunFolder, result: RunResult | None) -> tuple[tuple[str, str], ...]:
    card, recipe = run.card(), run.recipe()
    sizes = f"{card.train_images:,} to train, {card.val_images:,} to validate, {card.test_images:,} to test"
    facts = [
        ("Recipe", f"{recipe.name}, {recipe.model.name}, seed {recipe.train.seed}"),
        (
            "Images",
            f"{card.name}, {counted(len(card.classes), 'class', 'classes')}: {sizes}",
        ),
    ]
    if result is not None:
        images = sum(recipe.train.images_in(epoch, card.train_images) for epoch in range(result.epochs))
        flops = 6.0 * result.macs * images
        size = (
            f"{words.magnitude(result.parameters)} parameters, {words.magnitude(result.macs)} MACs an image"
        )
        facts.append(("Model", f"{size}, {words.magnitude(flops, 'FLOP')} to train"))
        if result.best_val_accuracy is not None:
            best = f"{words.percent(result.best_val_accuracy)} in epoch {result.best_epoch}"
            facts.append(("Best epoch", f"{best}; chosen on the images that score it, so too high"))
        if result.reason:
            facts.append(("Ended", result.reason))
    reads = count_test_reads(run.path.parent, card.test_digest)
    facts.append(("Test images", f"read {counted(reads, 'time')} from this folder of runs"))
    return tuple(facts)


def _panels(name: str, records: list[Any]) -> tuple[Markup, ...]:
    curves = Spread.of([records])
    if curves is None:
        return ()
    return tuple(map(Markup, spread.panels(curves, None, name="run", who=name, whom="")))


def _classified(arrays: dict[str, NDArray[Any]], part: str) -> dict[str, Any]:
    """Scores, classes, confusion and calibration over one part's images."""
    logits, labels = arrays[f"{part}_logits"], arrays[f"{part}_labels"]
    names = [str(name) for name in arrays["classes"]]
    table = metrics.confusion(logits, labels)
    totals = table.sum(1, keepdims=True)
    share = 100 * np.divide(table, totals, out=np.zeros(table.shape), where=totals > 0)
    wrong = np.where(np.eye(len(names), dtype=bool), 0, table)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_MOST_CONFUSED]
    pairs = [divmod(int(place), len(names)) for place in order]
    measured = metrics.measure(logits, labels)
    probabilities = np.exp(metrics.log_softmax(logits))

    def calibration(figure: Figure) -> None:
        charts.calibration(figure, charts.reliability(probabilities, labels))

    told = f"Accuracy against confidence; expected calibration error {100 * measured.ece:.2f} %."
    return {
        "measured": measured,
        "classes": sorted(metrics.per_class(logits, labels, names), key=lambda one: one.recall or 0.0),
        "names": names,
        "rows": list(zip(names, share.tolist(), strict=True)) if len(names) <= charts.MOST_NUMBERED else [],
        "confused": [
            (names[true], names[said], int(wrong[true, said]), float(share[true, said]))
            for true, said in pairs
            if wrong[true, said]
        ],
        "calibration": Markup(inline(calibration, 4.4, 4.4, name="calibration", told=told)),
    }


def _pictures(arrays: dict[str, NDArray[Any]], part: str) -> tuple[dict[str, Any], ...]:
    """The gallery's images as data, what they are and what they were taken for."""
    if "gallery_images" not in arrays:
        return ()
    names, rows = [str(name) for name in arrays["classes"]], arrays["gallery_rows"]
    logits, labels = arrays[f"{part}_logits"][rows], arrays[f"{part}_labels"][rows]
    sure = np.exp(metrics.log_softmax(logits))
    said = logits.argmax(1)
    return tuple(
        {
            "data": png_address(image),
            "true": names[label],
            "said": names[answer],
            "sure": float(sure[place, answer]),
            "right": bool(label == answer),
        }
        for place, (image, label, answer) in enumerate(
            zip(arrays["gallery_images"], labels, said, strict=True)
        )
    )


def png_address(image: NDArray[np.uint8]) -> str:
    """(H, W, C) as a data address."""
    content = io.BytesIO()
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(content, "png")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"


def _setting_out(run: RunFolder) -> tuple[tuple[str, str], ...]:
    try:
        about = run.environment()
    except ToyNetError:
        return ()
    told = ("processor", "unknown processor"), ("cores", "?"), ("memory_gib", "?"), ("system", "")
    processor, cores, memory, system = (about.get(key, otherwise) for key, otherwise in told)
    card = run.card()
    parts = {"train": card.train_digest, "test": card.test_digest, "split": card.split_digest}
    digests = ", ".join(f"{part} {digest[:12]}" for part, digest in parts.items())
    return (
        ("Machine", f"{processor}, {cores} cores, {memory} GiB, {system}"),
        ("Threads", f"{about['threads']} on {about.get('device', 'cpu')}"),
        ("Versions", reproduction.environment_versions(about)),
        ("Images", f"digests: {digests}"),
    )
