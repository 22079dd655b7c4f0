"""What a recipe is about, made ready: the images, their split and card, the model, the plan."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from toynet.augment.standardise import Standardiser
from toynet.core.errors import UsageError
from toynet.core.reporter import Reporter
from toynet.data import sources, splits
from toynet.data.balance import UNEVEN, balance
from toynet.data.images import Dataset, ImageSet, is_mapped, source_and_rows
from toynet.data.spec import DataSpec
from toynet.data.splits import Split
from toynet.evaluation import metrics, predict
from toynet.evaluation.settling import SETTLED, epochs_to_settle, remainder
from toynet.models import catalog
from toynet.models.speednet import whiten
from toynet.runs import weights
from toynet.runs.folder import DataCard
from toynet.runs.recipe import Recipe
from toynet.training import mapped, precision
from toynet.training.course import Course
from toynet.training.distributed import ALONE, Ranks
from toynet.training.images import TrainingImages
from toynet.training.loop import Plan, Score
from toynet.training.setup import stated

_WHITENING_IMAGES = 2000


@dataclass(frozen=True)
class Subject:
    """The images and what a model must know of them."""

    dataset: Dataset
    split: Split
    card: DataCard


def pin(recipe: Recipe) -> Recipe:
    """The recipe independent of the working folder: paths are absolute, a file of weights is told by content.

    Raises as `weights.pin`.
    """
    return weights.pin(recipe.with_changes({"data.name": sources.absolute(recipe.data.name)}))


def read(recipe: Recipe, data_root: Path | None, reporter: Reporter) -> Subject:
    """Load the images of `recipe` and set validation apart; statistics come from the training part only."""
    dataset = sources.load(recipe.data, data_root, reporter)
    check_crop(recipe, dataset.image_shape)
    return divide(dataset, recipe.data)


def divide(dataset: Dataset, spec: DataSpec) -> Subject:
    """Set validation apart as `spec` says. Raises `DataError` where that cannot be."""
    parts = splits.split(dataset, spec)
    mean, std = splits.channel_statistics(parts.train)
    card = DataCard(
        name=dataset.name,
        classes=dataset.classes,
        image_shape=dataset.image_shape,
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        train_images=len(parts.train),
        val_images=len(parts.val) if parts.val else 0,
        test_images=len(dataset.test),
        train_digest=dataset.train.digest,
        test_digest=dataset.test.digest,
        split_digest=parts.digest,
    )
    return Subject(dataset, parts, card)


def note_imbalance(recipe: Recipe, about: Subject, reporter: Reporter) -> None:
    """Say so where classes are filled unevenly, and what can be done unless it is done already."""
    part = about.split.train
    found = balance(part.labels, part.classes)
    if found.ratio <= UNEVEN:
        return
    handled = recipe.loss.class_weights == "balanced" or recipe.train.sampling == "balanced"
    hint = "" if handled else "; see --set loss.class_weights=balanced and --set train.sampling=balanced"
    reporter.note(f"classes are uneven: {found}{hint}")


def note_few_steps(recipe: Recipe, about: Subject, reporter: Reporter) -> None:
    """Say so where training is over before validation and test can tell what it has learnt."""
    epochs, images = recipe.train.epochs, about.card.train_images
    course = Course.of(recipe.train, images)
    remains = remainder(recipe.settings(), sum(course.passes))
    if remains > SETTLED:
        reporter.note(
            f"few steps: {epochs} epochs of {images:,} images make {course.steps}, too few for batch norm's "
            "averages to settle; scores will fall short of what is learnt, at worst to chance; see --set "
            f"train.epochs={epochs_to_settle(remains, epochs)}"
        )


def check_crop(recipe: Recipe, image_shape: tuple[int, int, int]) -> None:
    """Raise `UsageError` where a crop would leave nothing of images (height, width, channels)."""
    if recipe.augment.crop_pad_px >= (side := min(image_shape[:2])):
        raise UsageError(f"augment.crop_pad_px must be below the images' side, which is {side} pixels")


def check_batches(recipe: Recipe, images: int, model: nn.Module, image_shape: tuple[int, int, int]) -> None:
    """Raise `UsageError` where a batch, or a piece of one, has one of the `images` and batch norm needs more.

    That is so where a map has one pixel: there is nothing to take a variance over.
    """
    whole = recipe.train.batch_size
    micro = recipe.train.micro_batch or whole
    epochs = {images, recipe.train.images_in(recipe.train.epochs - 1, images)}
    batches = ((count, batch) for count in sorted(epochs) for batch in (min(count, whole), count % whole))
    lone = next((count for count, batch in batches if batch % micro == 1), None)
    if lone is None:
        return
    height, width, channels = image_shape
    sides = [(height, width)]
    if recipe.train.small is not None:
        sides.append((recipe.train.small.side_px, recipe.train.small.side_px))
    plain = copy.deepcopy(model).to("meta").train()
    try:
        for tall, wide in sides:
            plain(torch.empty(1, channels, tall, wide, device="meta"))
    except ValueError:
        key = "micro_batch" if lone % whole != 1 and recipe.train.micro_batch else "batch_size"
        raise UsageError(
            f"train.{key} = {getattr(recipe.train, key)} leaves a piece of one image (of {lone:,}), too "
            "little for batch norm on maps of one pixel; choose another number, or larger images"
        ) from None


def standardiser(card: DataCard, device: str) -> Standardiser:
    """The standardisation that the run's training images define."""
    mean, std = np.array(card.mean, np.float32), np.array(card.std, np.float32)
    return Standardiser.of(mean, std, width=card.image_shape[1], device=device)


def build_model(recipe: Recipe, card: DataCard) -> nn.Module:
    """The recipe's model for these images, with its first weights."""
    return catalog.build(
        recipe.model, classes=len(card.classes), image_shape=card.image_shape, seed=recipe.train.seed
    )


def first_model(recipe: Recipe, subject: Subject, device: str) -> nn.Module:
    """The model as training begins, on `device`; layers that take their weights from images or from the
    recipe's file have them."""
    model = build_model(recipe, subject.card).to(device)
    sample = torch.from_numpy(subject.split.train.images[:_WHITENING_IMAGES]).to(device)
    whiten(model, standardiser(subject.card, device)(sample))
    weights.load_into(model, recipe)
    return model


def plan(recipe: Recipe, card: DataCard) -> Plan:
    """The recipe as the training loop reads it. Its set-up must be resolved."""
    return Plan(
        train=recipe.train,
        loss=recipe.loss,
        optim=recipe.optim,
        schedule=recipe.schedule,
        augment=recipe.augment,
        classes=len(card.classes),
        setup=stated(recipe.train),
    )


def training_images(subject: Subject, device: str) -> TrainingImages:
    """The training part on the model's device."""
    part = subject.split.train
    source, rows = source_and_rows(part.images)
    images = torch.from_numpy(source)
    if mapped.fits(images, device):
        images = images.to(device)
    if is_mapped(part.images) and images.device.type == "cpu":
        mapped.prepare(images)
    return TrainingImages(
        images=images,
        labels=torch.from_numpy(part.labels).to(device),
        standardise=standardiser(subject.card, device),
        rows=None if rows is None else torch.from_numpy(rows).to(device),
        mapped=is_mapped(part.images),
    )


def validator(recipe: Recipe, subject: Subject, device: str, ranks: Ranks = ALONE) -> "partial[Score] | None":
    """A function from a model to its validation loss and accuracy; none where nothing validates.

    Each of several ranks scores a share of the images, and all get the same numbers.
    """
    part = subject.split.val
    if part is None:
        return None
    # Views for test time would multiply the cost of every epoch; they are kept for the final scores.
    every_epoch = recipe.with_changes({"eval.tta": "none"})
    return partial(_score, part=part, logits=classifier(every_epoch, subject.card, device), ranks=ranks)


def classifier(recipe: Recipe, card: DataCard, device: str) -> Callable[..., NDArray[np.float32]]:
    """A function from a model and images (N, H, W, C) uint8 to logits (N, K), as the recipe evaluates."""
    return partial(
        predict.logits,
        mean=card.mean,
        std=card.std,
        spec=recipe.eval,
        device=device,
        autocast=partial(precision.arithmetic, stated(recipe.train).precision, device),
    )


def _score(
    model: nn.Module, *, part: ImageSet, logits: Callable[..., NDArray[np.float32]], ranks: Ranks
) -> Score:
    of_all = ranks.map_rows(len(part), lambda rows: torch.from_numpy(logits(model, part.images[rows])))
    found = metrics.measure(of_all.numpy(), part.labels)
    return found.loss, found.accuracy
