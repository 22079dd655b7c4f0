"""A model as ONNX: dynamic batch, folded norms, its preprocessing inside or beside it."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from toynet.core.errors import ToyNetError, UsageError
from toynet.exporting import preprocessing as steps
from toynet.exporting.extras import require
from toynet.exporting.origin import Origin
from toynet.exporting.parity import Logits
from toynet.exporting.records import Preprocessing

LEAST_OPSET, USUAL_OPSET, GREATEST_OPSET = 18, 20, 23
"""The exporter writes 18 and above; 20 is known to onnxruntime since 1.17."""


class Answering(nn.Module):
    """From images to logits (N, K) and calibrated probabilities (N, K).

    Images are uint8 (N, H, W, C) with the preprocessing inside, else standardised float32 (N, C, H, W).
    """

    def __init__(self, network: nn.Module, origin: Origin, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network, self.inside = network, preprocessing == "inside"
        self.temperature = origin.temperature
        # In float64 and then rounded, as the training's own standardisation is.
        std = torch.tensor(origin.card.std, dtype=torch.float64)
        mean = torch.tensor(origin.card.mean, dtype=torch.float64)
        self.register_buffer("scale", (1 / std).float().view(-1, 1, 1))
        self.register_buffer("shift", (-mean / std).float().view(-1, 1, 1))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        if self.inside:
            scale, shift = self.get_buffer("scale"), self.get_buffer("shift")
            images = images.permute(0, 3, 1, 2).to(torch.float32) * scale + shift
        logits = self.network(images)
        return logits, torch.softmax(logits / self.temperature, dim=1)


def check_opset(opset: int | None) -> int:
    """The opset to write. Raises `UsageError` naming the least, or the greatest, that there is."""
    wanted = USUAL_OPSET if opset is None else opset
    if wanted < LEAST_OPSET:
        raise UsageError(f"opset {wanted} is too old: the least supported opset is {LEAST_OPSET}")
    if wanted > GREATEST_OPSET:
        raise UsageError(f"opset {wanted} is not supported yet: the greatest is {GREATEST_OPSET}")
    return wanted


def write(
    path: Path, network: nn.Module, origin: Origin, *, preprocessing: Preprocessing, opset: int
) -> None:
    """Write `network`, the folded model of `origin`, to `path`.

    Raises `ToyNetError` where the extra is not installed.
    """
    onnx, _ = require("export", "onnx", "onnxscript")
    height, width, channels = origin.card.image_shape
    if preprocessing == "inside":
        sample = torch.zeros(2, height, width, channels, dtype=torch.uint8)
    else:
        sample = torch.zeros(2, channels, height, width)
    with _quiet():
        program = torch.onnx.export(
            Answering(network, origin, preprocessing).eval(),
            (sample,),
            dynamo=True,
            opset_version=opset,
            input_names=["images"],
            output_names=["logits", "probabilities"],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            verbose=False,
        )
    assert program is not None
    model: Any = program.model_proto
    if model.opset_import[0].version != opset:
        raise UsageError(f"this model cannot be written in opset {opset}; leave --opset out")
    _forget_sources(model.graph)
    onnx.helper.set_model_props(model, _properties(origin, preprocessing))
    model.producer_name, model.producer_version = "toynet", version("toynet-lab")
    onnx.checker.check_model(model)
    onnx.save(model, path)


def read(path: Path, origin: Origin, preprocessing: Preprocessing, threads: int | None = None) -> Logits:
    """The model at `path` in onnxruntime, as a function from uint8 images to logits."""
    session = open_session(path, threads)

    def logits(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        found, _ = session.run(None, {"images": prepared(images, origin, preprocessing)})
        return np.asarray(found, np.float32)

    return logits


def prepared(images: NDArray[np.uint8], origin: Origin, preprocessing: Preprocessing) -> NDArray[Any]:
    """Images (N, H, W, C) uint8 as the exported model takes them."""
    if preprocessing == "inside":
        return images
    mean, std = np.array(origin.card.mean, np.float32), np.array(origin.card.std, np.float32)
    return np.ascontiguousarray(((images - mean) / std).transpose(0, 3, 1, 2), np.float32)


def open_session(path: Path, threads: int | None = None) -> Any:
    """onnxruntime on the CPU, on as many threads as torch unless told otherwise."""
    (runtime,) = require("export", "onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.log_severity_level = 3
    try:
        return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a kind for every failure, and no common one
        raise ToyNetError(f"onnxruntime {runtime.__version__} cannot read the export: {error}") from error


def _forget_sources(graph: Any) -> None:
    """Take out the lines of code, with the paths of this machine, that the exporter notes at every node."""
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


def _properties(origin: Origin, preprocessing: Preprocessing) -> dict[str, str]:
    """What travels in the file's metadata, as texts."""
    scores = {"val_accuracy": origin.result.val_accuracy, "test_accuracy": origin.result.test_accuracy}
    return {
        "classes": json.dumps(origin.card.classes),
        "recipe": origin.recipe_text,
        **{key: f"{value:.4f}" for key, value in scores.items() if value is not None},
        "seeds": "1",
        "run": origin.name,
        "identity": origin.result.identity,
        "toynet_version": version("toynet-lab"),
        "temperature": repr(origin.temperature),
        "preprocessing": f"{preprocessing}: {steps.in_words(origin)}",
        "mean": json.dumps(origin.card.mean),
        "std": json.dumps(origin.card.std),
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Without two remarks of torch's exporter: that torchvision, which is not used, is not installed, and
    that torch itself calls something of its own that is deprecated."""
    log = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)", FutureWarning)
            yield
    finally:
        log.setLevel(before)
