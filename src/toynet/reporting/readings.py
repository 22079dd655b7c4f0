"""What the run folders of a study still hold beyond its journal: epochs, classes, layers. Read once."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toynet.core.errors import ToyNetError
from toynet.core.records import EpochRecord
from toynet.core.wording import setting
from toynet.evaluation import diagnose, metrics
from toynet.evaluation.findings import Finding
from toynet.runs.folder import RunFolder
from toynet.studies.folder import Account
from toynet.training.course import Course

Floats = NDArray[np.float64]

_NOT_ALIKE = ("train.epochs", "data.protocol")
"""Settings that a study cannot compare by themselves: budgets would be unequal, or the images others."""


@dataclass(frozen=True)
class Reading:
    """One run. recall: (classes,) NaN for a class without images; none without predictions."""

    seed: int
    whole: bool
    """Whether it ended with a score, so that it counts in means."""

    records: tuple[EpochRecord, ...]
    findings: tuple[Finding, ...]
    classes: tuple[str, ...]
    recall: Floats | None


@dataclass(frozen=True)
class Readings:
    """All runs that could be read, by arm; `missing` are those of the journal that could not."""

    arms: Mapping[str, Sequence[Reading]]
    missing: int
    damaged: tuple[str, ...]

    def of(self, arm: str) -> Sequence[Reading]:
        return self.arms.get(arm, ())


def read(account: Account, part: str) -> Readings:
    """Read every run of the account; part: whose classes to compare, `val` or `test`."""
    arms: dict[str, list[Reading]] = {arm.name: [] for arm in account.plan.arms}
    damaged = []
    for arm, seed in sorted(account.runs, key=lambda key: key[1]):
        try:
            arms.setdefault(arm, []).append(_reading(account, arm, seed, part))
        except ToyNetError as error:
            damaged.append(str(error))
    return Readings(arms, len(account.entries) - sum(map(len, arms.values())), tuple(damaged))


def _reading(account: Account, arm: str, seed: int, part: str) -> Reading:
    run, entry = account.runs[arm, seed], account.entries[arm, seed]
    scores = class_scores(run, part)
    judged = scores if part == "val" else class_scores(run, "val")
    recall = np.array([np.nan if one.recall is None else one.recall for one in scores]) if scores else None
    records = run.metrics()
    return Reading(
        seed=seed,
        whole=entry.outcome in ("finished", "stopped_early"),
        records=tuple(records),
        findings=tuple(findings(run, records, judged)),
        classes=tuple(one.name for one in scores or ()),
        recall=recall,
    )


def class_scores(run: RunFolder, part: str) -> tuple[metrics.ClassScore, ...] | None:
    """Each class of the run's `val` or `test` images; none where it has no such predictions."""
    if not (run.path / "predictions.npz").exists():
        return None
    arrays = run.predictions()
    if f"{part}_logits" not in arrays:
        return None
    names = [str(name) for name in arrays["classes"]]
    return metrics.per_class(arrays[f"{part}_logits"], arrays[f"{part}_labels"], names)


def try_by(run: RunFolder, folder: Path, key: str, value: object) -> str:
    """The command that tries a change of the run's recipe, which lies in `folder`: a study where both sides
    can be compared, else one training with the run's seed.
    """
    recipe, result = run.recipe(), run.result()
    diverged = result is not None and result.status == "diverged"
    source, change = str(folder / "recipe.toml"), f"{key}={setting(value)}"
    if diverged or recipe.data.protocol == "full" or key in _NOT_ALIKE:
        seed = str(recipe.train.seed)
        return shlex.join(["toynet", "train", source, "--set", change, "--seed", seed])
    return shlex.join(["toynet", "study", source, "--try", change])


def findings(
    run: RunFolder, records: Sequence[EpochRecord], per_class: Sequence[metrics.ClassScore] | None
) -> list[Finding]:
    """What the run's curves, classes and layers say. per_class: of validation images, for advice must not
    be drawn from test images. Empty for a run without an epoch that did not diverge.
    """
    result = run.result()
    diverged = result is not None and result.status == "diverged"
    if not records and not diverged:
        return []
    recipe = run.recipe()
    course = Course.of(recipe.train, run.card().train_images)
    return diagnose.diagnose(
        records,
        settings=recipe.settings(),
        per_class=per_class,
        activations=run.activations(),
        diverged=diverged,
        passes=sum(course.passes[: len(records)]),
    )
