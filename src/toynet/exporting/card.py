"""The model card beside an export: what it is, how good, how that was measured, how to use it."""

import time
from importlib.metadata import PackageNotFoundError, version

from toynet.core.wording import nats
from toynet.exporting import preprocessing as steps
from toynet.exporting.origin import Origin
from toynet.exporting.records import Export, Format
from toynet.models.architectures import ImageShape

_PACKAGES: dict[Format, tuple[str, ...]] = {
    "onnx": ("toynet-lab", "torch", "onnx", "onnxruntime"),
    "torch": ("toynet-lab", "torch", "safetensors"),
    "keras": ("toynet-lab", "torch", "keras"),
}


def write_card(origin: Origin, export: Export, file: str) -> str:
    """The card as Markdown, for the model in the file named `file`."""
    card, result = origin.card, origin.result
    lines = [
        f"# {_plain(file)}",
        "",
        f"A convolutional image classifier: `{origin.recipe.model.name}`, {result.parameters:,} parameters, "
        f"{result.macs / 1e6:,.1f} million multiply-adds an image, {len(card.classes)} classes.",
        "",
        "## Use",
        "",
        "```python",
        *_code(export, file, card.image_shape),
        "```",
        "",
        f"`images`: {steps.in_words(origin) if export.preprocessing != 'inside' else _raw(origin)}.",
        f"`probabilities` are a softmax of the logits over a temperature of {origin.temperature:g}"
        + (", fitted on validation images." if origin.calibrated else " (not calibrated)."),
        "",
        "## Classes",
        "",
        *(f"{number}. {_plain(name)}" for number, name in enumerate(card.classes)),
        "",
        "## How good",
        "",
        *_scores(origin, export),
        "",
        "## Checked",
        "",
        f"Logits against the original in float32: largest difference {export.parity.max_difference:.2e} on "
        f"{export.parity.images} {_plain(export.parity.source)}, in batches of "
        f"{', '.join(map(str, export.parity.batch_sizes))}. Limit: {export.parity.limit:g}.",
        "",
        *_int8(export),
        "## Made from",
        "",
        f"- data: {_plain(card.name.partition(':')[0])}, {card.train_images:,} training, {card.val_images:,} "
        f"validation, {card.test_images:,} test images, protocol {result.protocol}",
        f"- recipe: {_plain(result.recipe)}, seed {result.seed}, {result.epochs} of {result.planned_epochs} "
        f"epochs, {result.precision}",
        f"- run: {_plain(origin.name)}, checkpoint {origin.which}, identity {result.identity[:16]}",
        f"- exported {time.strftime('%Y-%m-%d', time.gmtime())} with {_versions(export.format)}",
        "",
        "## Limits",
        "",
        "It answers with one of its classes whatever it is shown, pictures of none of them included. The "
        "scores hold for pictures like those of its data set; on others they have to be measured anew. They "
        "come from one seed: another would give others.",
        "",
        "```toml",
        origin.recipe_text.replace("```", "` ` `").rstrip(),
        "```",
        "",
    ]
    return "\n".join(lines)


def _code(export: Export, file: str, image_shape: ImageShape) -> list[str]:
    """Three lines that load the model and ask it, with a placeholder for the images."""
    height, width, channels = image_shape
    rows, maps = f"1, {height}, {width}, {channels}", f"1, {channels}, {height}, {width}"
    if export.format == "onnx":
        inside = export.preprocessing == "inside"
        images = f"numpy.zeros(({rows}), 'uint8')" if inside else f"numpy.zeros(({maps}), 'float32')"
        return [
            "import numpy, onnxruntime",
            f"session = onnxruntime.InferenceSession({file!r})",
            f"logits, probabilities = session.run(None, {{'images': {images}}})",
        ]
    if export.format == "keras":
        return [
            "import numpy, keras",
            f"model = keras.saving.load_model({file!r})",
            f"probabilities = model.predict(numpy.zeros(({rows}), 'float32'))['probabilities']",
        ]
    return [
        "import torch; from pathlib import Path; from toynet.exporting.torch_file import load",
        f"model, about = load(Path({file!r}))",
        f"probabilities = (model(torch.zeros({maps})) / about.temperature).softmax(1)",
    ]


def _raw(origin: Origin) -> str:
    height, width, channels = origin.card.image_shape
    return (
        f"(N, {height}, {width}, {channels}) of 0..255, {steps.RESIZE_RULE}; mean and deviation are "
        "taken care of inside"
    )


def _scores(origin: Origin, export: Export) -> list[str]:
    result, tta = origin.result, origin.recipe.eval.tta
    how = "one view of each image" if tta == "none" else f"the mean over views of each image (`{tta}`)"
    rows = [
        ("validation", result.val_accuracy, result.val_loss, origin.card.val_images),
        ("test", result.test_accuracy, result.test_loss, origin.card.test_images),
    ]
    told = [
        f"| {part} | {100 * score:.2f} % | {nats(loss)} | {count:,} |"
        for part, score, loss, count in rows
        if score is not None and loss is not None
    ]
    lines = [
        "| part | accuracy | loss | images |",
        "|---|---|---|---|",
        *told,
        "",
        f"One run, one seed; {how}, at the end of training, in {result.precision}.",
    ]
    if origin.which == "best":
        lines.append("These belong to the last checkpoint; this file has the one that validated best.")
    if export.accuracy is not None:
        count = len(origin.probe.images)
        lines.append(
            f"This file, asked about one view of each of {count:,} {_plain(origin.probe.source)}: "
            f"{100 * export.accuracy:.2f} %."
        )
    return lines


def _int8(export: Export) -> list[str]:
    int8 = export.int8
    if int8 is None:
        return []
    scores = ""
    if int8.accuracy is not None and int8.float32_accuracy is not None:
        scores = (
            f" Accuracy on {int8.images:,} {_plain(export.parity.source)}: {100 * int8.accuracy:.2f} %, "
            f"float32 {100 * int8.float32_accuracy:.2f} %."
        )
    return [
        "## In 8-bit integers",
        "",
        f"`{_plain(int8.file)}`, {int8.bytes:,} bytes, calibrated on {int8.calibration_images} training "
        f"images.{scores} {int8.images_per_s:,.0f} images/s, float32 {int8.float32_images_per_s:,.0f}, in "
        f"onnxruntime on {int8.threads} threads of the exporting machine: {int8.verdict}.",
        "",
    ]


def _versions(kind: Format) -> str:
    def told(package: str) -> str:
        try:
            return f"{package} {version(package)}"
        except PackageNotFoundError:
            return f"{package} (unknown)"

    return ", ".join(told(package) for package in _PACKAGES[kind])


def _plain(text: str) -> str:
    """A name from outside as text that Markdown leaves alone, on one line."""
    line = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>#|!&" else letter for letter in line)
