"""The verb that lets a model out: export."""

from pathlib import Path

from toynet.api.run import Run, open_run
from toynet.core.errors import UsageError
from toynet.core.memory import keep_freed_memory
from toynet.core.reporter import Reporter, Silent
from toynet.exporting.export import SUFFIXES, check_request, target_of, write_export
from toynet.exporting.origin import open_origin
from toynet.exporting.records import Export, Format, Preprocessing
from toynet.runs import trained
from toynet.runs.classifier import temperature_of


def export(
    run: str | Path | Run,
    format: Format = "onnx",
    output: str | Path | None = None,
    *,
    preprocessing: Preprocessing | None = None,
    int8: bool = False,
    opset: int | None = None,
    which: trained.Which = "last",
    temperature: float | None = None,
    force: bool = False,
    root: Path | None = None,
    data_root: Path | None = None,
    reporter: Reporter | None = None,
) -> Export:
    """Write a run's model as ONNX, as safetensors weights (`torch`) or for Keras, and a card beside it.

    The file's logits are compared with the original's on validation images before it gets its name; it goes
    to `output`, else to the run's name in the working folder. `preprocessing`: `inside` the model (the
    default) or `beside` it as JSON. `int8` adds a quantised ONNX model, scored and timed. `temperature`
    divides the logits before the softmax, by default as the run's validation images want it; without
    scores of the chosen checkpoint on them it is 1. Raises `ToyNetError` and its kinds.
    """
    keep_freed_memory()
    if format not in SUFFIXES:
        raise UsageError(f"format {format!r}: choose onnx, torch or keras")
    if temperature is not None and not 0 < temperature < float("inf"):
        raise UsageError(f"temperature must be above 0 and finite, got {temperature:g}")
    check_request(format, preprocessing, int8=int8, opset=opset)
    folder = open_run(run, root=root).folder
    target = target_of(None if output is None else Path(output), folder.name, format)
    reporter = reporter or Silent()
    fitted = temperature_of(folder, which) if temperature is None else None
    origin = open_origin(
        folder,
        which=which,
        temperature=temperature or fitted or 1.0,
        calibrated=fitted is not None,
        data_root=data_root,
        reporter=reporter,
    )
    return write_export(
        origin,
        target,
        format,
        preprocessing=preprocessing or "inside",
        int8=int8,
        opset=opset,
        force=force,
        reporter=reporter,
    )
