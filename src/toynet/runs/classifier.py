"""A trained model as something that classifies pictures: what a run's folder knows, ready to use."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from toynet.augment.standardise import Standardiser
from toynet.core.errors import DataError
from toynet.data.pixels import picture_pixels, read_pixels, with_channels
from toynet.evaluation import calibration
from toynet.evaluation.explain import heat_maps
from toynet.models.headed import HeadedNet
from toynet.runs import subject, trained
from toynet.runs.folder import RunFolder
from toynet.training import precision

Picture = str | Path | IO[bytes] | Image.Image | NDArray[np.uint8]
"""A file, by name or open; a Pillow image; or an array (H, W), (H, W, 1) or (H, W, 3)."""


class Guess(NamedTuple):
    """A class and how probable it is, 0..1."""

    label: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """What a model says of one picture. probabilities: (K,), in the order of `classes`."""

    classes: tuple[str, ...]
    probabilities: NDArray[np.float32]

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.classes[int(self.probabilities.argmax())]

    def top(self, count: int = 5) -> list[Guess]:
        """The `count` most probable classes, most probable first; equal ones in the order of classes."""
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [Guess(self.classes[place], float(self.probabilities[place])) for place in order]


@dataclass(frozen=True)
class Classifier:
    """A run's model with its preprocessing and its calibration. Not to be used from two threads at once.

    `temperature` divides the logits before the softmax, so that probabilities are as high as answers were
    right on the run's validation images; none where the run has no such logits: nothing is divided then.
    """

    name: str
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    """(height, width, channels) that the model takes."""

    standardise: Standardiser
    model: nn.Module
    temperature: float | None
    logits: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
    """Of pixels (N, H, W, C): (N, K), with the run's precision and test-time views."""

    def predict(self, picture: Picture) -> Prediction:
        """What the model says of one picture. Raises `DataError` for one that cannot be read."""
        return self.predict_many([picture])[0]

    def predict_many(self, pictures: Sequence[Picture]) -> list[Prediction]:
        """`predict` of each, in one batch."""
        if not pictures:
            return []
        found = self.probabilities(np.stack([self.read(picture) for picture in pictures]))
        return [Prediction(self.classes, row) for row in found]

    def probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Calibrated probabilities (N, K) of pixels (N, H, W, C) of `image_shape`."""
        return calibration.probabilities(self.logits(pixels), self.temperature or 1.0)

    def explain(
        self, pixels: NDArray[np.uint8], labels: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """Where pixels (N, H, W, C) speak for `labels` (N,), by default the answers: (N, H, W) in 0..1.

        Raises `ToyNetError` where captum is not installed.
        """
        if labels is None:
            labels = self.logits(pixels).argmax(axis=1)
        assert isinstance(self.model, HeadedNet)  # all architectures here are
        device = precision.device()
        images = torch.from_numpy(np.require(pixels, requirements=("C", "W"))).to(device)
        return heat_maps(self.model, self.standardise(images), torch.from_numpy(labels).to(device))

    def read(self, picture: Picture) -> NDArray[np.uint8]:
        """The picture as the model takes it, (H, W, C): by the rules of `data.pixels`, in colour or gray.

        An array of the model's own shape is taken as it is. Raises `DataError` with the reason, unnamed.
        """
        height, width, channels = self.image_shape
        if isinstance(picture, np.ndarray):
            if picture.shape == self.image_shape and picture.dtype == np.uint8:
                return picture
            picture = _as_image(picture)
        if isinstance(picture, Image.Image):
            pixels = picture_pixels(picture, (height, width))
        else:
            pixels = read_pixels(Path(picture) if isinstance(picture, str) else picture, (height, width))
        fitting: NDArray[np.uint8] = with_channels(pixels[np.newaxis], channels)[0]
        return fitting


def load_classifier(folder: RunFolder, which: trained.Which = "last") -> Classifier:
    """The classifier of a run. Raises `CheckpointError` where it has saved no model yet."""
    recipe, card, device = folder.recipe(), folder.card(), precision.device()
    model = trained.load_model(folder, which)
    ask = subject.classifier(recipe, card, device)
    return Classifier(
        name=folder.name,
        classes=card.classes,
        image_shape=card.image_shape,
        standardise=subject.standardiser(card, device),
        model=model,
        temperature=temperature_of(folder, which),
        logits=lambda pixels: ask(model, pixels),
    )


def temperature_of(folder: RunFolder, which: trained.Which = "last") -> float | None:
    """Fitted to the run's validation images; none where nothing validated or the logits are not finite.

    The run's logits are those of its last weights: of its best ones only where these are the same.
    """
    result = folder.result()
    if which == "best" and (result is None or result.best_epoch != result.epochs):
        return None
    if not (folder.path / "predictions.npz").exists():
        return None
    arrays = folder.predictions()
    if "val_logits" not in arrays or not np.isfinite(arrays["val_logits"]).all():
        return None
    return calibration.fit_temperature(arrays["val_logits"], arrays["val_labels"])


def _as_image(array: NDArray[np.uint8]) -> Image.Image:
    flat = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if (
        array.dtype != np.uint8
        or not (flat.ndim == 2 or (flat.ndim == 3 and flat.shape[2] == 3))
        or not array.size
    ):
        raise DataError(
            f"an array must be uint8 (H, W), (H, W, 1) or (H, W, 3), not {array.dtype} {array.shape}"
        )
    return Image.fromarray(flat)
