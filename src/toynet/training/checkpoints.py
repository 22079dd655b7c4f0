"""Checkpoints on disk: whole, verified, never overwritten.

A checkpoint is a folder `epoch-0005` (or `epoch-0005-batch-00120` inside an epoch) of safetensors files,
`state.json`, and `manifest.json` with the sha256 of each, written last. It is built under another name,
flushed, and renamed; only then are older ones removed. The last two and the best one are kept; one that is
found damaged is set aside under the name `damaged-epoch-0005`.
"""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from toynet.core import disk
from toynet.core.errors import CheckpointError, DiskError
from toynet.core.files import make_folder, sha256_of, sync_folder, write_atomic
from toynet.training.learner import Learner, Parts
from toynet.training.state import TrainState

_KEEP = 2
_MOST = _KEEP + 2
"""Besides the last ones there are the best one and the one being built."""

_MANIFEST = "manifest.json"
_NEEDED = {"state.json", "model.safetensors"}
_BUILDING = ".building-"
_NAME = re.compile(r"epoch-(\d{4,9})(?:-batch-(\d{5,9}))?")
_SMALL_FILES_BYTES = 1 << 16
"""What state, manifest and headers take at most."""


def save(folder: Path, learner: Learner) -> Path:
    """Write a checkpoint of `learner` below `folder`, then drop the ones no longer needed. Returns its path.

    Raises `DiskError` when the disk is full, `CheckpointError` for its other errors; what was there stays.
    """
    target = folder / _name(learner.state.epoch, learner.state.batch)
    if target.exists():
        if _is_whole(target):
            return target
        _set_aside(target)
    needed = size_bytes(learner)
    disk.require_room(folder, needed, "another checkpoint")
    building = folder / f"{_BUILDING}{target.name}"
    try:
        make_folder(folder)
        for left in folder.glob(f"{_BUILDING}*"):
            shutil.rmtree(left, ignore_errors=True)
        building.mkdir()
        for part, tensors in learner.parts().items():
            _write_tensors(building / f"{part}.safetensors", tensors)
        write_atomic(building / "state.json", json.dumps(learner.state.to_json(), indent=2))
        manifest = {file.name: sha256_of(file) for file in sorted(building.iterdir())}
        write_atomic(building / _MANIFEST, json.dumps(manifest, indent=2))
        os.rename(building, target)
        sync_folder(folder)
    except OSError as error:
        shutil.rmtree(building, ignore_errors=True)
        if told := disk.refusal(error, folder, needed):
            raise DiskError(told) from error
        raise CheckpointError(f"cannot save {target}: {error.strerror or error}") from error
    _prune(folder, learner.state.best_epoch)
    return target


def size_bytes(learner: Learner) -> int:
    """What a checkpoint takes on the disk, at most; moments that are not there yet are counted."""
    tensors = [tensor for part in learner.parts().values() for tensor in part.values()]
    moments = 0 if learner.state.step else sum(_moment_bytes(optimizer) for optimizer in learner.optimizers)
    return sum(tensor.nbytes for tensor in tensors) + moments + _SMALL_FILES_BYTES


def require_room(folder: Path, learner: Learner) -> None:
    """Raise `DiskError` where the checkpoints that a run holds at once will not all find room."""
    coming = max(1, _MOST - len(names(folder)))
    disk.require_room(folder, coming * size_bytes(learner), f"{coming} checkpoints")


def names(folder: Path) -> list[str]:
    """The checkpoints, oldest first. They take their names when they are whole; later they can be damaged."""
    if not folder.is_dir():
        return []
    return sorted((entry.name for entry in folder.iterdir() if _NAME.fullmatch(entry.name)), key=_place)


def best(folder: Path) -> Path | None:
    """The checkpoint with the highest validation accuracy, as the newest one with a legible state tells."""
    for name in reversed(names(folder)):
        try:
            epoch = _read_json(folder / name / "state.json")["best_epoch"]
            path = folder / _name(epoch, 0)
        except (OSError, ValueError, TypeError, KeyError):
            continue
        return path if (path / _MANIFEST).exists() else None
    return None


def load(path: Path, *, allow_inexact: bool = False) -> tuple[Parts, TrainState]:
    """The tensors and cursor of one checkpoint, every byte verified against the manifest.

    With `allow_inexact` files may be missing, but for the model and the state. Raises `CheckpointError`.
    """
    parts: Parts = {}
    state = None
    for name, expected in _manifest(path).items():
        if allow_inexact and name not in _NEEDED and not (path / name).exists():
            continue
        try:
            if sha256_of(path / name) != expected:
                raise CheckpointError(f"{path / name} is damaged: its content does not match the manifest")
            if name == "state.json":
                state = TrainState.from_json(_read_json(path / name), allow_inexact=allow_inexact)
            elif name.endswith(".safetensors"):
                parts[Path(name).stem] = safetensors.torch.load_file(path / name)
        except OSError as error:
            raise CheckpointError(f"{path / name} cannot be read ({error.strerror})") from error
        except (ValueError, KeyError, TypeError, RecursionError, SafetensorError) as error:
            raise CheckpointError(f"{path / name} is damaged ({error})") from error
    assert state is not None  # the manifest names it
    return parts, state


def load_latest(folder: Path, *, allow_inexact: bool = False) -> tuple[Parts, TrainState, list[str]]:
    """The newest checkpoint that is whole, and a line about each damaged one that was passed over.

    Where none is whole and `allow_inexact` is set, the newest that has a model and a state will do. Raises
    `CheckpointError` when there is none.
    """
    damaged: list[str] = []
    for partly in (False, True) if allow_inexact else (False,):
        for name in reversed(names(folder)):
            try:
                return (*load(folder / name, allow_inexact=partly), damaged)
            except CheckpointError as error:
                damaged.append(str(error))
    if damaged:
        raise CheckpointError(f"no usable checkpoint: {damaged[0]}; bring it back or start a new run")
    raise CheckpointError(f"no checkpoint in {folder}")


def set_aside_later(folder: Path, state: TrainState) -> None:
    """Rename the checkpoints after `state`, which were passed over, so that none is taken for a good one."""
    for name in names(folder):
        if _place(name) > (state.epoch, state.batch):
            _set_aside(folder / name)


def _name(epoch: int, batch: int) -> str:
    return f"epoch-{epoch:04d}" + (f"-batch-{batch:05d}" if batch else "")


def _place(name: str) -> tuple[int, int]:
    """The epoch and batch in a checkpoint's name."""
    found = _NAME.fullmatch(name)
    assert found is not None
    return int(found[1]), int(found[2] or 0)


def _manifest(path: Path) -> dict[str, str]:
    """The sha256 of each file of a checkpoint."""
    name = path / _MANIFEST
    try:
        found = _read_json(name)
    except OSError as error:
        raise CheckpointError(f"{name} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{name} is damaged: not JSON") from error
    if not isinstance(found, dict) or not found.keys() >= _NEEDED:
        raise CheckpointError(f"{name} is damaged: it lacks files")
    for odd in (key for key in found if Path(key).name != key or "\0" in key):
        raise CheckpointError(f"{name} is damaged: {odd!r} is no file of the checkpoint")
    return found


def _is_whole(path: Path) -> bool:
    try:
        load(path)
    except CheckpointError:
        return False
    return True


def _set_aside(path: Path) -> None:
    aside = path.with_name(f"damaged-{path.name}")
    shutil.rmtree(aside, ignore_errors=True)
    os.rename(path, aside)
    sync_folder(path.parent)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    write_atomic(path, safetensors.torch.save(plain))


def _moment_bytes(optimizer: Any) -> int:
    """What an optimiser will remember of its parameters, once it has made a step."""
    settings = optimizer.defaults
    copies = 2 if "betas" in settings else int(bool(settings.get("momentum")))
    parameters: list[Tensor] = [p for group in optimizer.param_groups for p in group["params"]]
    return copies * sum(parameter.nbytes for parameter in parameters)


def _prune(folder: Path, best_epoch: int | None) -> None:
    all_names = names(folder)
    kept = {*all_names[-_KEEP:], *([_name(best_epoch, 0)] if best_epoch else [])}
    for name in all_names:
        if name not in kept:
            shutil.rmtree(folder / name, ignore_errors=True)
