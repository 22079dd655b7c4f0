"""A model's weights as safetensors, with all that is needed to rebuild it in the file's own header."""

from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
from pydantic import ValidationError
from torch import nn

from toynet.augment.standardise import Standardiser
from toynet.core.errors import CheckpointError
from toynet.core.records import Record
from toynet.evaluation.predict import logits
from toynet.evaluation.spec import EvalSpec
from toynet.exporting.origin import Origin
from toynet.exporting.parity import Logits
from toynet.models import catalog
from toynet.models.spec import ModelSpec
from toynet.runs.classifier import Classifier
from toynet.training import precision

HEADER_KEY = "toynet"
SUFFIX = ".safetensors"


class Packed(Record):
    """What a file of weights says of its model. mean, std: per channel on the 0..255 scale."""

    run: str
    model: ModelSpec
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    """Height, width, channels."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    temperature: float
    recipe: str
    """As TOML."""

    val_accuracy: float | None
    test_accuracy: float | None
    toynet_version: str


def write(path: Path, origin: Origin) -> None:
    """Write the weights of `origin`, as they are, to `path`."""
    start_free = {"weights": None, "weights_sha256": None}
    packed = Packed(
        run=origin.name,
        model=catalog.resolve(origin.recipe.model).model_copy(update=start_free),
        classes=origin.card.classes,
        image_shape=origin.card.image_shape,
        mean=origin.card.mean,
        std=origin.card.std,
        temperature=origin.temperature,
        recipe=origin.recipe_text,
        val_accuracy=origin.result.val_accuracy,
        test_accuracy=origin.result.test_accuracy,
        toynet_version=version("toynet-lab"),
    )
    tensors = {name: value.contiguous() for name, value in origin.model.state_dict().items()}
    metadata = {HEADER_KEY: packed.model_dump_json(), "format": "pt"}
    path.write_bytes(safetensors.torch.save(tensors, metadata))


def load(path: Path) -> tuple[nn.Module, Packed]:
    """The model in a file that `write` made, in evaluation mode on the CPU, and what the file says of it.

    Raises `CheckpointError` naming the file where it is damaged or none of ours.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: it is no whole safetensors file") from error
    if HEADER_KEY not in metadata:
        raise CheckpointError(f"{path} was not written by toynet export: its header does not tell the model")
    try:
        packed = Packed.model_validate_json(metadata[HEADER_KEY])
    except ValidationError as error:
        raise CheckpointError(f"{path} is damaged: {error.errors()[0]['msg']}") from None
    model = catalog.build(packed.model, classes=len(packed.classes), image_shape=packed.image_shape, seed=0)
    expected = {name: value.shape for name, value in model.state_dict().items()}
    found = {name: value.shape for name, value in tensors.items()}
    for name in expected.keys() | found.keys():
        if expected.get(name) != found.get(name):
            raise CheckpointError(
                f"{path} is damaged: {name} is {_told(found.get(name))}, its model needs "
                f"{_told(expected.get(name))}"
            )
    model.load_state_dict(tensors)
    return model.eval(), packed


def load_classifier(path: Path) -> Classifier:
    """The classifier in such a file: one view of each picture, in float32. Raises as `load`."""
    model, packed = load(path)
    device = precision.device()
    model.to(device)
    ask = partial(
        logits, model, mean=packed.mean, std=packed.std, spec=EvalSpec(batch_size=128), device=device
    )
    mean, std = np.array(packed.mean, np.float32), np.array(packed.std, np.float32)
    return Classifier(
        name=path.stem,
        classes=packed.classes,
        image_shape=packed.image_shape,
        standardise=Standardiser.of(mean, std, width=packed.image_shape[1], device=device),
        model=model,
        temperature=packed.temperature,
        logits=ask,
    )


def read(path: Path, origin: Origin) -> Logits:
    """The model at `path`, read back, as a function from uint8 images to logits."""
    return replace(origin, model=load(path)[0]).logits


def _told(shape: object) -> str:
    return "not there" if shape is None else str(tuple(shape))  # type: ignore[arg-type]
