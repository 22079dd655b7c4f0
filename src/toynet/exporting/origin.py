"""What is exported: a finished run's model in plain float32, what it must know, and images to check it on."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from toynet.core.errors import ToyNetError
from toynet.core.records import RunResult
from toynet.core.reporter import Reporter
from toynet.data.images import ImageSet, Pixels
from toynet.evaluation.predict import logits
from toynet.evaluation.spec import EvalSpec
from toynet.runs import execute, subject, trained
from toynet.runs.folder import DataCard, RunFolder
from toynet.runs.recipe import Recipe

PARITY_IMAGES, SCORED_IMAGES = 512, 2000
"""The most images that logits are compared on, and that accuracy is measured on."""

NOISE_IMAGES = 64


@dataclass(frozen=True)
class Probe:
    """Images (N, H, W, C) uint8 that exports are checked on, and what they are."""

    source: str
    """Such as "validation images of cifar10"."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    """None where the images were not set apart from training, so that a score would mean nothing."""

    calibration: Pixels | None
    """Training images, for quantisation; none where the data set is not at hand."""


@dataclass(frozen=True)
class Origin:
    """A finished run, ready to be exported. `model` is in float32 on the CPU, in evaluation mode."""

    name: str
    recipe: Recipe
    card: DataCard
    result: RunResult
    which: trained.Which
    model: nn.Module
    temperature: float
    calibrated: bool
    """Whether the temperature was fitted to validation images."""

    probe: Probe

    @property
    def recipe_text(self) -> str:
        """The recipe as TOML, without the folders of this machine."""
        kind, colon, _ = self.recipe.data.name.partition(":")
        changes = {"data.name": f"{kind}:PATH"} if colon and kind != "glyphs" else {}
        if self.recipe.model.weights is not None:
            changes["model.weights"] = Path(self.recipe.model.weights).name
        return self.recipe.with_changes(changes).to_toml()

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The original's answer (N, K) to one view of each image, in float32."""
        spec = EvalSpec(batch_size=128)
        return logits(self.model, images, mean=self.card.mean, std=self.card.std, spec=spec, device="cpu")


def open_origin(
    folder: RunFolder,
    *,
    which: trained.Which,
    temperature: float,
    calibrated: bool = False,
    data_root: Path | None,
    reporter: Reporter,
) -> Origin:
    """Read a run for export. Raises `ToyNetError` where it is not finished or has no model."""
    result = folder.result()
    if result is None:
        raise ToyNetError(
            f"run {folder.name} is not finished; go on with toynet train --resume --name {folder.name}"
        )
    if result.status == "diverged":
        raise ToyNetError(f"run {folder.name} diverged ({result.reason}); there is no model worth exporting")
    recipe, card = folder.recipe(), folder.card()
    model = trained.load_plain(folder, which)
    probe = _probe(folder, recipe, data_root, reporter)
    return Origin(folder.name, recipe, card, result, which, model.eval(), temperature, calibrated, probe)


def _probe(folder: RunFolder, recipe: Recipe, data_root: Path | None, reporter: Reporter) -> Probe:
    """Validation images of the run's own data, else its gallery and noise; never test images of the data."""
    try:
        about = subject.read(recipe, data_root, reporter)
        execute.check_same_images(folder, about)
    except ToyNetError as error:
        reporter.note(f"checked on the run's gallery and noise: {error}")
        return _stand_in(folder)
    train, val = about.split.train, about.split.val
    chosen: ImageSet = val or train
    source = "validation images" if val else "training images (the run has no validation part)"
    labels = chosen.labels[:SCORED_IMAGES] if val else None
    source = f"{source} of {recipe.data.name.partition(':')[0]}"
    return Probe(source, chosen.images[:SCORED_IMAGES], labels, train.images)


def _stand_in(folder: RunFolder) -> Probe:
    gallery = folder.predictions()["gallery_images"].astype(np.uint8)
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 256, (NOISE_IMAGES, *gallery.shape[1:]), dtype=np.uint8)
    source = "images of the run's gallery and noise (its data set was not at hand)"
    return Probe(source, np.concatenate([gallery, noise]), None, None)
