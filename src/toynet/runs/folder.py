"""A run on disk.

recipe.toml        what was asked for, resolved: nothing left at "auto"
base.toml          the recipe as its file said it when the run began, before anything was overridden
environment.json   machine, versions, threads, and the version of this layout
data.json          what the model must know of its images: classes, shape, mean, std, digests
metrics.jsonl      a line per epoch
tensorboard/       the same for TensorBoard, with weight histograms
checkpoints/       the last two and the best
activations.json   how alive each layer was at the end
predictions.npz    logits and labels of validation and test, and the gallery's images
figures/           pictures of all that
inexact.jsonl      only where the run was gone on with otherwise than it began: when and how
result.json        written last: with it, the run is finished
"""

import os
import re
import shutil
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from toynet.core.errors import ToyNetError, UsageError, did_you_mean
from toynet.core.files import (
    append_json_line,
    canonical_json,
    make_folder,
    read_json,
    read_json_lines,
    sync_folder,
    write_atomic,
    write_json,
)
from toynet.core.locks import folder_lock, in_use, owner, was_abandoned
from toynet.core.records import EpochRecord, LayerActivation, Record, RunResult
from toynet.runs.recipe import Recipe, Table, source

Kind = TypeVar("Kind", bound=Record)
_FIRST_SETUP = {"kernels": "direct", "memory_format": "channels_last"}
FORMAT = 1
"""The version of a run folder's layout. A folder without a number is of the first."""

_BUILDING = ".building-"
_ABANDONED_S = 3600.0
"""After which a folder that nobody locked yet belongs to a process that was killed before it could."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,119}")


class DataCard(Record):
    """What a trained model must know of its images. mean, std: per channel on the 0..255 scale."""

    name: str
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train_images: int
    val_images: int
    test_images: int
    train_digest: str
    test_digest: str
    split_digest: str

    @property
    def digest(self) -> str:
        """Of all the images that a run can depend on."""
        return self.train_digest + self.test_digest + self.split_digest


@dataclass(frozen=True)
class RunFolder:
    """The paths and records of one run. Nothing is cached: every property reads the disk."""

    path: Path

    @classmethod
    @contextmanager
    def create(
        cls, path: Path, recipe: Recipe, card: DataCard, environment: Table, base: Recipe | None = None
    ) -> Iterator["RunFolder"]:
        """Make the folder with its first files, and hold it: it is locked before it has its name.

        Of several who begin at once one wins. Raises `UsageError` when the name is taken, `ToyNetError` when
        another process holds it or the disk refuses.
        """
        check_free(path)
        _sweep(path.parent)
        building = path.parent / f"{_BUILDING}{path.name}-{os.getpid()}"
        try:
            with _refusals(path):
                make_folder(path.parent)
                building.mkdir(exist_ok=True)  # until it is held, nobody can tell whether it is left over
            with folder_lock(building):
                with _refusals(path):
                    write_json(building / "environment.json", {"format": FORMAT, **environment})
                    write_json(building / "data.json", card.model_dump(mode="json"))
                    if base is not None:
                        write_atomic(building / "base.toml", base.to_toml())
                    write_atomic(building / "recipe.toml", recipe.to_toml())
                    os.rename(building, path)
                    sync_folder(path.parent)
                yield cls(path)
        finally:
            shutil.rmtree(building, ignore_errors=True)

    @classmethod
    def open(cls, name: str | Path, root: Path) -> "RunFolder":
        """The run called `name` below `root`, or at that path. Raises `UsageError` naming the nearest one."""
        for path in (root / name, Path(name)):
            if (path / "recipe.toml").exists():
                cls(path).check_format()
                return cls(path)
        if (root / name).is_dir() and (root / name / "metrics.jsonl").exists():
            raise UsageError(f"{root / name} has lost its recipe.toml; bring it back, or train anew")
        known = [entry.parent.name for entry in root.glob("[!.]*/recipe.toml")]
        hint = (
            did_you_mean(str(name), known) if known else "there are no runs yet; make one with toynet train"
        )
        raise UsageError(f"there is no run {name} in {root}; {hint}")

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    def check_format(self) -> None:
        """Raise `ToyNetError` for a folder that a newer version of ToyNet wrote."""
        path = self.path / "environment.json"
        found = read_json(path) if path.exists() else None
        number = found.get("format", 1) if isinstance(found, dict) else 1
        if isinstance(number, int) and number > FORMAT:
            raise ToyNetError(
                f"{self.path} was written by a newer ToyNet (format {number}, this one reads up to "
                f"{FORMAT}); update it: pip install -U toynet-lab"
            )

    def base(self) -> Recipe | None:
        """The recipe before anything was overridden; none for a run that had no recipe's file."""
        path = self.path / "base.toml"
        return Recipe.load(str(path)) if path.exists() else None

    def recipe(self) -> Recipe:
        """What the run was begun with. Before kernels and memory format were settings, each had one value."""
        self.check_format()
        path = self.path / "recipe.toml"
        try:
            if "[train]" not in source(str(path)):
                raise ToyNetError(f"{path} is damaged: it lacks its tables")
            recipe = Recipe.load(str(path))
        except UsageError as error:
            raise ToyNetError(f"{path} is damaged ({error})") from error
        lacking = {key: value for key, value in _FIRST_SETUP.items() if getattr(recipe.train, key) == "auto"}
        return recipe.model_copy(update={"train": recipe.train.model_copy(update=lacking)})

    def card(self) -> DataCard:
        return _validated(DataCard, self.path / "data.json")

    def environment(self) -> Table:
        """Machine, versions, `threads` and `device`."""
        path = self.path / "environment.json"
        found = read_json(path)
        if not isinstance(found, dict) or not isinstance(found.get("threads"), int):
            raise ToyNetError(f"{path} is damaged: it does not tell the threads")
        return found

    def activations(self) -> list[LayerActivation] | None:
        """How alive each layer was at the end; none while the run is not finished."""
        path = self.path / "activations.json"
        return _validated_list(LayerActivation, read_json(path), path) if path.exists() else None

    def metrics(self) -> list[EpochRecord]:
        """The epochs so far, in order."""
        path = self.path / "metrics.jsonl"
        return _validated_list(EpochRecord, read_json_lines(path), path)

    def append_metrics(self, record: EpochRecord) -> None:
        append_json_line(self.path / "metrics.jsonl", record.model_dump(mode="json"))

    def cut_metrics(self, epochs: int) -> None:
        """Drop what lies beyond `epochs`: those epochs will be run again, from the checkpoint before them."""
        kept = {record.epoch: record for record in self.metrics() if record.epoch <= epochs}
        lines = "".join(canonical_json(kept[epoch].model_dump(mode="json")) + "\n" for epoch in sorted(kept))
        write_atomic(self.path / "metrics.jsonl", lines)

    def go_on_inexactly(self, recipe: Recipe, *, step: int, reasons: Sequence[str]) -> None:
        """Note that from `step` on the run is another than it began, and why; `recipe` is what it is now."""
        append_json_line(self.path / "inexact.jsonl", {"step": step, "reasons": list(reasons)})
        write_atomic(self.path / "recipe.toml", recipe.to_toml())

    @property
    def is_exact(self) -> bool:
        """Whether it went on as it began, wherever it stopped."""
        return not (self.path / "inexact.jsonl").exists()

    def predictions(self) -> dict[str, NDArray[Any]]:
        """The arrays of `predictions.npz`; raises `ToyNetError` when the run has none yet."""
        path = self.path / "predictions.npz"
        if not path.exists():
            raise ToyNetError(f"{self.path} has no predictions yet; go on with toynet train --resume")
        try:
            with np.load(path) as arrays:
                return dict(arrays)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ToyNetError(f"{path} is damaged; it cannot be read") from error

    def result(self) -> RunResult | None:
        """None while the run is not finished."""
        path = self.path / "result.json"
        return _validated(RunResult, path) if path.exists() else None

    def seal(self, result: RunResult) -> None:
        """Write `result.json`; from then on the run is finished and nothing in it changes."""
        write_json(self.path / "result.json", result.model_dump(mode="json"))


def check_name(name: str) -> str:
    """`name`, if a run can be called so: it becomes a folder. Raises `UsageError`."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"run name {name!r}: use letters, digits and . _ + = - only, 120 at most")
    return name


def check_free(path: Path) -> None:
    """Raise `UsageError` when there is something at `path` already, `ToyNetError` when it cannot be made."""
    if path.exists():
        raise _taken(path)
    parent = next(p for p in path.parents if p.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise ToyNetError(f"cannot write to {parent}; set TOYNET_RUNS to a folder that can be written")


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Tell of the disk's refusals that it is `path` that cannot be made, or that it is there by now."""
    try:
        yield
    except OSError as error:
        if path.exists():
            raise _taken(path) from None
        raise ToyNetError(f"cannot make {path}: {error.strerror}") from None


def _taken(path: Path) -> ToyNetError:
    if who := owner(path):
        return in_use(path, who)
    if (path / "result.json").exists():
        return UsageError(f"run {path.name} exists and is finished; choose another --name")
    return UsageError(f"run {path.name} exists; go on with it by --resume, or choose another --name")


def _sweep(root: Path) -> None:
    """Remove what processes left behind that were killed while they made a run's folder."""
    for left in root.glob(f"{_BUILDING}*"):
        with suppress(OSError):
            if was_abandoned(left) or time.time() - left.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(left)


def _validated(kind: type[Kind], path: Path) -> Kind:
    return _validated_list(kind, [read_json(path)], path)[0]


def _validated_list(kind: type[Kind], values: Any, path: Path) -> list[Kind]:
    """`values` as records; `path`, where they were read, is named when they are not."""
    if not isinstance(values, list):
        raise ToyNetError(f"{path} is damaged: not a list")
    try:
        return [kind.model_validate(value) for value in values]
    except ValidationError as error:
        raise ToyNetError(f"{path} is damaged ({error.errors()[0]['msg']})") from None
