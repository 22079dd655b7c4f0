"""Checkpoints on disk: whole, verified, never overwritten.

A checkpoint is a folder `epoch-0005` (or `epoch-0005-batch-00120` inside an epoch) of safetensors files,
`state.json`, and `manifest.json` with the sha256 of each, written last. It is built under another name,
flushed, and renamed; only then are older ones removed. The last two and the best one are kept.
"""

import errno
import json
import os
import shutil
from pathlib import Path

import safetensors.torch
from torch import Tensor

from toynet.core.errors import CheckpointError
from toynet.core.files import sha256_of, sync_folder, write_atomic
from toynet.training.learner import Learner, Parts
from toynet.training.state import TrainState

_KEEP = 2
_MANIFEST = "manifest.json"
_BEST = "best.json"


def save(folder: Path, learner: Learner) -> Path:
    """Write a checkpoint of `learner` below `folder`, then drop the ones no longer needed. Returns its path.

    Raises `CheckpointError` when the disk refuses; what was there before stays.
    """
    state = learner.state
    name = f"epoch-{state.epoch:04d}" + (f"-batch-{state.batch:05d}" if state.batch else "")
    target = folder / name
    if (target / _MANIFEST).exists():
        return target
    building = folder / f".building-{name}"
    try:
        shutil.rmtree(building, ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
        building.mkdir(parents=True)
        for part, tensors in learner.parts().items():
            _write_tensors(building / f"{part}.safetensors", tensors)
        write_atomic(building / "state.json", json.dumps(state.to_json(), indent=2))
        manifest = {file.name: sha256_of(file) for file in sorted(building.iterdir())}
        write_atomic(building / _MANIFEST, json.dumps(manifest, indent=2))
        os.replace(building, target)
        sync_folder(folder)
        if state.batch == 0 and state.epoch == state.best_epoch:
            write_atomic(folder / _BEST, json.dumps({"name": name}))
    except OSError as error:
        shutil.rmtree(building, ignore_errors=True)
        raise CheckpointError(f"cannot save {target}: {_reason(error, folder)}") from error
    _prune(folder)
    return target


def names(folder: Path) -> list[str]:
    """Finished checkpoints, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if (entry / _MANIFEST).exists())


def best(folder: Path) -> Path | None:
    """The checkpoint with the highest validation accuracy among those saved."""
    try:
        path = folder / str(json.loads((folder / _BEST).read_bytes())["name"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return path if (path / _MANIFEST).exists() else None


def load(path: Path) -> tuple[Parts, TrainState]:
    """The tensors and cursor of one checkpoint, every byte verified against the manifest."""
    try:
        manifest = json.loads((path / _MANIFEST).read_bytes())
        if not {"state.json", "model.safetensors"} <= manifest.keys():
            raise CheckpointError(f"{path / _MANIFEST} is damaged: it lacks files")
        for name, expected in manifest.items():
            if sha256_of(path / name) != expected:
                raise CheckpointError(f"{path / name} is damaged: its content does not match the manifest")
        state = TrainState.from_json(json.loads((path / "state.json").read_bytes()))
        parts = {
            Path(name).stem: safetensors.torch.load_file(path / name)
            for name in manifest
            if name.endswith(".safetensors")
        }
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} is damaged ({error})") from error
    return parts, state


def load_latest(folder: Path) -> tuple[Parts, TrainState, list[str]]:
    """The newest checkpoint that is whole, and a line about each damaged one that was passed over.

    Raises `CheckpointError` when there is none.
    """
    damaged: list[str] = []
    for name in reversed(names(folder)):
        try:
            return (*load(folder / name), damaged)
        except CheckpointError as error:
            damaged.append(str(error))
    if damaged:
        raise CheckpointError(f"no usable checkpoint: {damaged[0]}")
    raise CheckpointError(f"no checkpoint in {folder}")


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    write_atomic(path, safetensors.torch.save(plain))


def _prune(folder: Path) -> None:
    kept = set(names(folder)[-_KEEP:])
    kept_best = best(folder)
    if kept_best is not None:
        kept.add(kept_best.name)
    for name in names(folder):
        if name not in kept:
            shutil.rmtree(folder / name, ignore_errors=True)


def _reason(error: OSError, folder: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free_mb = shutil.disk_usage(folder).free // 2**20
        return f"no space left on the disk ({free_mb} MB free); free some and go on with --resume"
    return str(error.strerror or error)
