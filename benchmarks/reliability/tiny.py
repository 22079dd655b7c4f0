"""A run of under a second for the proofs, and what of it must be equal to the bit.

A trial runs in a forked child: torch is loaded once, and what is killed is a real process all the same.
"""

import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from toynet.core.reporter import Reporter, Silent
from toynet.runs import execute, subject
from toynet.runs.folder import RunFolder
from toynet.runs.recipe import Recipe
from toynet.runs.subject import Subject
from toynet.training import checkpoints

CHANGES = {
    "data.name": "glyphs:240",
    "augment.shift": 0.1,
    "model.name": "toynet12",
    "model.widths": [4, 8, 8, 8],
    "model.dropout": 0.2,
    "train.epochs": 3,
    "train.batch_size": 60,
    "train.checkpoint_every": 1,
    "train.ema": 0.9,
    "train.precision": "fp32",
    "train.kernels": "direct",
    "train.memory_format": "channels_last",
    "train.threads": 1,
}
_TIMES = "elapsed_s", "images_per_s", "train_s", "seconds"


def recipe(**changes: object) -> Recipe:
    return Recipe.load("quick", {**CHANGES, **changes})


def images(one: Recipe) -> Subject:
    return subject.read(one, None, Silent())


def run(path: Path, one: Recipe, about: Subject, reporter: Reporter | None = None) -> None:
    """Begin the run, or go on with it. No pictures are drawn."""
    settings: dict[str, Any] = {"data_root": None, "reporter": reporter or Silent(), "about": about}
    if (path / "recipe.toml").exists():
        execute.resume(RunFolder(path), threads=None, illustrate=lambda folder: None, **settings)
    else:
        execute.start(one, path, illustrate=lambda folder: None, **settings)


def digest(path: Path) -> str:
    """sha256 over final weights, average, optimiser, cursor, history, logits and scores, times left out."""
    folder = RunFolder(path)
    newest = folder.checkpoints / checkpoints.names(folder.checkpoints)[-1]
    hasher = hashlib.sha256()
    for file in sorted(newest.glob("*.safetensors")):
        hasher.update(file.read_bytes())
    parts = [
        json.loads((newest / "state.json").read_bytes()),
        json.loads((path / "result.json").read_bytes()),
    ]
    parts += [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    hasher.update(json.dumps([_timeless(part) for part in parts], sort_keys=True).encode())
    for name, array in sorted(folder.predictions().items()):
        hasher.update(name.encode() + array.tobytes())
    return hasher.hexdigest()


@cache
def load_all() -> None:
    """Import what a run imports on its way, once, before children need it: one run, and the command line."""
    import toynet.cli.app
    import toynet.cli.progress  # noqa: F401

    one = recipe(**{"train.epochs": 1})
    with tempfile.TemporaryDirectory() as place:
        run(Path(place) / "first", one, images(one))


def fork(work: Callable[[], object]) -> int:
    """Do `work` in a child of its own; returns its number. It exits with 0, or with an error's exit code."""
    load_all()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException as error:
        code = getattr(error, "exit_code", 1)
        with suppress(OSError):
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(code)


def ended(child: int, timeout_s: float = 300.0) -> int:
    """Its exit code, minus the signal's number where one killed it; it is killed when it takes longer."""
    deadline = time.monotonic() + timeout_s
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(child, 9)
            deadline += 60
        time.sleep(0.002)


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(inner) for key, inner in value.items() if key not in _TIMES}
    return value


def weights(path: Path) -> str:
    """sha256 over the final weights, average and optimiser."""
    folder = path / "checkpoints"
    hasher = hashlib.sha256()
    for file in sorted((folder / checkpoints.names(folder)[-1]).glob("*.safetensors")):
        hasher.update(file.read_bytes())
    return hasher.hexdigest()


def command(arguments: list[str], output: Path) -> None:
    """The command line, in this process, which it ends; what it says goes to `output`."""
    from toynet.cli.app import main

    handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.argv = ["toynet", *arguments]
    main()


def overrides(one: Recipe) -> list[str]:
    """`--set` for what tells `one` from the recipe `quick`, on the command line."""
    told = one.settings()
    return [word for key in CHANGES for word in ("--set", f"{key}={json.dumps(told[key])}")]
