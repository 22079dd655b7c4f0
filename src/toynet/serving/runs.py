"""Runs as the pages and the API show them."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeVar

from toynet.core.errors import ToyNetError
from toynet.core.locks import is_held
from toynet.reporting import readings
from toynet.runs.folder import RunFolder
from toynet.serving.answers import Metrics, RunDetail, RunList, RunStatus, RunSummary
from toynet.serving.listing import Listing
from toynet.serving.remembered import Remembered, state_of

Order = Literal["newest", "score"]
Kind = TypeVar("Kind", bound=RunSummary)

_FILES = ("recipe.toml", "data.json", "metrics.jsonl", "result.json", "predictions.npz")
_log = logging.getLogger("toynet.serving")


@dataclass(frozen=True)
class Runs:
    """Reads run folders; what has not changed since it was read is not read again."""

    listing: Listing
    remembered: Remembered

    def page(self, order: Order, offset: int, limit: int) -> RunList:
        """A part of the list: the newest first, or the highest score first and those without one last."""
        folders = list(self.listing.runs().items())
        if order == "newest":
            shown = [self.summary(name, folder) for name, folder in folders[offset : offset + limit]]
        else:
            every = [self.summary(name, folder) for name, folder in folders]
            shown = sorted(every, key=_score, reverse=True)[offset : offset + limit]
        return RunList(total=len(folders), runs=tuple(shown))

    def summary(self, name: str, folder: RunFolder) -> RunSummary:
        """Never raises: a damaged run is one whose status says so."""
        held = is_held(folder.path)

        def make() -> RunSummary:
            try:
                return _summary(RunSummary, name, folder, held)
            except Exception as error:
                return RunSummary(
                    name=name, status="damaged", started=_began(folder), damage=damage(folder.path, error)
                )

        return self.remembered.recall(
            ("summary", folder.path), (name, held, state_of(folder.path, *_FILES)), make
        )

    def detail(self, name: str) -> RunDetail:
        """Raises `Refusal` (404) for a run that is not there; a damaged one has a status that says so."""
        folder = self.listing.run(name)
        held = is_held(folder.path)

        def make() -> RunDetail:
            try:
                return _detail(name, folder, held)
            except Exception as error:
                return RunDetail(
                    name=name, status="damaged", started=_began(folder), damage=damage(folder.path, error)
                )

        return self.remembered.recall(
            ("detail", folder.path), (name, held, state_of(folder.path, *_FILES)), make
        )

    def metrics(self, name: str, after: int) -> Metrics:
        """The epochs beyond `after`. Raises `Refusal` (404), and `ToyNetError` for a damaged run."""
        folder = self.listing.run(name)
        with damage_told(folder.path):
            return Metrics(
                status=_status(folder, is_held(folder.path)),
                planned_epochs=folder.recipe().train.epochs,
                epochs=tuple(record for record in folder.metrics() if record.epoch > after),
            )


def written(path: Path) -> datetime:
    """When; the beginning of time for a file that has just been taken away."""
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return datetime.fromtimestamp(0, UTC)


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """Raise `ToyNetError` for whatever goes wrong while the folder at `path` is read."""
    try:
        yield
    except Exception as error:
        raise ToyNetError(damage(path, error)) from error


def damage(path: Path, error: Exception) -> str:
    """What to say of a folder that could not be read. A damaged file can make its reader fail in any way;
    what is not one of our own errors goes to the log as well."""
    if isinstance(error, ToyNetError):
        return str(error)
    _log.warning("%s cannot be read", path, exc_info=error)
    return f"{path} is damaged ({type(error).__name__}: {error})"


def _began(folder: RunFolder) -> datetime:
    return written(folder.path / "recipe.toml")


def _status(folder: RunFolder, held: bool) -> RunStatus:
    """held: whether a process had the run in hand, looked at before its result is: the result comes first."""
    result = folder.result()
    if result is not None:
        return result.status
    return "running" if held else "stopped"


def _summary(kind: type[Kind], name: str, folder: RunFolder, held: bool, **more: object) -> Kind:
    status, recipe, records, result = (
        _status(folder, held),
        folder.recipe(),
        folder.metrics(),
        folder.result(),
    )
    last = records[-1].val_accuracy if records else None
    return kind.model_validate(
        {
            "name": name,
            "status": status,
            "started": _began(folder),
            "recipe": recipe.name,
            "data": recipe.data.name,
            "seed": recipe.train.seed,
            "epochs": len(records),
            "planned_epochs": recipe.train.epochs,
            "val_accuracy": last if result is None else result.val_accuracy,
            "test_accuracy": result.test_accuracy if result else None,
            **more,
        }
    )


def _detail(name: str, folder: RunFolder, held: bool) -> RunDetail:
    card = folder.card()
    found = readings.findings(folder, folder.metrics(), readings.class_scores(folder, "val"))
    return _summary(
        RunDetail,
        name,
        folder,
        held,
        classes=card.classes,
        image_shape=card.image_shape,
        result=folder.result(),
        findings=tuple(found),
        recipe_toml=folder.recipe().to_toml(),
    )


def _score(run: RunSummary) -> float:
    """Of validation images where there are any: who chooses by test scores can no longer trust them."""
    found = run.val_accuracy if run.val_accuracy is not None else run.test_accuracy
    return -1.0 if found is None else found
