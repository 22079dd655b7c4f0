"""The verb that scores a model: evaluate."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from toynet.api.run import Run, open_run
from toynet.core import places
from toynet.core.errors import UsageError, did_you_mean
from toynet.core.memory import keep_freed_memory
from toynet.core.reporter import Reporter, Silent
from toynet.evaluation import metrics
from toynet.runs import execute, reads, subject, trained
from toynet.runs import recipe as recipes
from toynet.runs import weights as first_weights
from toynet.runs.recipe import Recipe
from toynet.runs.subject import Subject
from toynet.training import precision

_PLAIN = {"train.precision": "fp32", "train.kernels": "direct", "train.memory_format": "channels_last"}


@dataclass(frozen=True)
class Evaluation:
    """Scores over one split, in all and by class. `test_reads` counts looks at the test images."""

    split: Literal["val", "test"]
    scores: metrics.Metrics
    per_class: tuple[metrics.ClassScore, ...]
    test_reads: int | None


@dataclass(frozen=True)
class _Candidate:
    """A model to score, what it is about, and where reads of test images are written down."""

    name: str
    recipe: Recipe
    about: Subject
    model: nn.Module
    ledger: Path


def evaluate(
    run: str | Path | Run,
    split: Literal["val", "test"] = "val",
    *,
    which: trained.Which = "last",
    weights: str | Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    root: Path | None = None,
    data_root: Path | None = None,
    reporter: Reporter | None = None,
) -> Evaluation:
    """Score a run's model on its validation or test images. Every read of test is logged and counted.

    With `weights`, a file that Keras saved, these are scored instead, in float32; then `run` may also be a
    recipe, by name or TOML path, with `overrides`, and its data set is used. Raises `ToyNetError` and its
    kinds.
    """
    keep_freed_memory()
    reporter, root = reporter or Silent(), root or places.runs_folder()
    if split not in ("val", "test"):
        raise UsageError(f"split {split!r}; {did_you_mean(split, ('val', 'test'))}")
    if weights is not None:
        trained.check(which)
        trained.refuse_best(which, str(weights))
        one = _with_weights(run, weights, overrides or {}, root, data_root, reporter)
    elif overrides:
        raise UsageError("a run is scored as it was trained; overrides go with weights")
    else:
        one = _trained(run, which, root, data_root, reporter)
    about = one.about
    part = about.dataset.test if split == "test" else about.split.val
    if part is None:
        raise UsageError(f"{one.name} has no validation part: it trains on all images (protocol full)")
    count = None
    if split == "test":
        digest = about.card.test_digest
        count = reads.log_test_read(one.ledger, digest=digest, run=one.name, verb="evaluate")
    logits = subject.classifier(one.recipe, about.card, precision.device())(one.model, part.images)
    found = metrics.measure(logits, part.labels)
    return Evaluation(split, found, metrics.per_class(logits, part.labels, about.card.classes), count)


def _trained(
    run: str | Path | Run, which: trained.Which, root: Path, data_root: Path | None, reporter: Reporter
) -> _Candidate:
    folder = open_run(run, root=root).folder
    recipe = folder.recipe()
    about = subject.read(recipe, data_root, reporter)
    execute.check_same_images(folder, about)
    return _Candidate(folder.name, recipe, about, trained.load_model(folder, which), folder.path.parent)


def _with_weights(
    run: str | Path | Run,
    weights: str | Path,
    overrides: Mapping[str, Any],
    root: Path,
    data_root: Path | None,
    reporter: Reporter,
) -> _Candidate:
    if isinstance(run, Run) or (root / run / "recipe.toml").exists() or (Path(run) / "recipe.toml").exists():
        folder = open_run(run, root=root).folder
        name, recipe, ledger = folder.name, folder.recipe().with_changes(overrides), folder.path.parent
    elif Path(run).suffix == ".toml" or str(run) in recipes.shipped():
        name, recipe, ledger = str(run), Recipe.load(str(run), overrides), root
    else:
        raise UsageError(f"there is no run {run} in {root}, and no recipe of that name (toynet recipes list)")
    changes = {**_PLAIN, "model.weights": str(weights), "model.weights_sha256": None}
    recipe = first_weights.pin(recipe.with_changes(changes))
    about = subject.read(recipe, data_root, reporter)
    model = subject.build_model(recipe, about.card)
    first_weights.load_into(model, recipe, reporter)
    return _Candidate(name, recipe, about, model.to(precision.device()), ledger)
