"""The last look at a run: its final weights scored, and what figures and pages need left in its folder."""

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from toynet.core.errors import Diverged
from toynet.core.files import write_atomic_with, write_json
from toynet.core.reporter import Reporter, times
from toynet.core.seeds import stream
from toynet.evaluation import activations, metrics
from toynet.runs import reads, subject
from toynet.runs.folder import RunFolder
from toynet.runs.recipe import Recipe
from toynet.runs.subject import Subject
from toynet.training import precision
from toynet.training.learner import Learner

_GALLERY_OF_EACH = 12
_ACTIVATION_IMAGES = 256


class Scores(NamedTuple):
    """Of the final weights, with the recipe's test-time augmentation; none where there is no such part."""

    val: metrics.Metrics | None
    test: metrics.Metrics | None


def score(folder: RunFolder, recipe: Recipe, about: Subject, learner: Learner, reporter: Reporter) -> Scores:
    """Score the final weights, on test once or not at all; leave predictions and activations behind.

    Raises `Diverged` where the weights give a loss that is not finite.
    """
    model, device = learner.model, precision.device()
    if learner.average is not None:
        learner.average.write_into(model)
    logits = partial(subject.classifier(recipe, about.card, device), model)
    val, parts = about.split.val, {"val": about.split.val}
    if recipe.eval.test:
        reads_so_far = reads.log_test_read(
            folder.path.parent, digest=about.card.test_digest, run=folder.name, verb="train"
        )
        reporter.note(
            f"final evaluation; these test images have now been read {times(reads_so_far)} from here"
        )
        parts["test"] = about.dataset.test
    arrays: dict[str, Any] = {"classes": np.array(about.card.classes)}
    scores: dict[str, metrics.Metrics] = {}
    for name, part in parts.items():
        if part is not None:
            found = logits(part.images)
            scores[name] = _finite(metrics.measure(found, part.labels), name, learner)
            chosen = _gallery(found, part.labels, recipe.train.seed)
            arrays |= {f"{name}_logits": found, f"{name}_labels": part.labels}
            # Of the last part: test where it is scored.
            arrays |= {"gallery_rows": chosen, "gallery_images": part.images[chosen]}
    write_atomic_with(folder.path / "predictions.npz", lambda file: np.savez_compressed(file, **arrays))
    sample = torch.from_numpy((val or about.split.train).images[:_ACTIVATION_IMAGES]).to(device)
    layers = activations.activation_summary(model, subject.standardiser(about.card, device)(sample))
    write_json(folder.path / "activations.json", [layer.model_dump(mode="json") for layer in layers])
    return Scores(scores.get("val"), scores.get("test"))


def _finite(found: metrics.Metrics, part: str, learner: Learner) -> metrics.Metrics:
    """`found`, if the weights that it scores make sense."""
    if math.isfinite(found.loss):
        return found
    state = learner.state
    raise Diverged(
        f"diverged by step {state.step} (epoch {state.epoch}): the final {part} loss is {found.loss}",
        step=state.step,
        epoch=state.epoch,
    )


def _gallery(logits: NDArray[np.float32], labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Rows of up to a dozen wrong and a dozen right predictions, drawn without looking at confidence."""
    right = logits.argmax(axis=1) == labels
    generator = stream(seed, "gallery")
    shuffled = generator.permutation(len(labels))
    return np.concatenate([shuffled[right[shuffled] == side][:_GALLERY_OF_EACH] for side in (False, True)])
