"""Goal 2: a power cut before or after each write, flush and rename of a save, a journal line and a download.

At every point the disk is left in several states: all that was written is there, nothing that was not flushed
is, and parts of it are (drawn). The program's own reading then finds the old or the new, never neither.
"""

import hashlib
import random
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import torch
from reliability.recorder import Disk, Left, lay, recorded

from toynet.core.errors import ToyNetError
from toynet.core.files import append_json_line, read_json, read_json_lines, write_json
from toynet.data.download import download
from toynet.models import catalog
from toynet.models.spec import ModelSpec
from toynet.training import checkpoints
from toynet.training.learner import Learner
from toynet.training.spec import OptimSpec, TrainSpec

COUNT = 200
"""Drawn states at each point."""

SHORT = 2
_FILE = random.Random(5).randbytes(100_000)

Find = Callable[[Path], object]
"""What a program finds on a disk."""

Prepare = Callable[[Path], tuple[Callable[[], object], Find]]
"""Brings a disk to where the operation that it returns begins."""


def prove(count: int, *, flushes: bool = True) -> dict[str, Any]:
    """Each operation at each of its points, with `count` drawn states besides the two extremes.

    Without `flushes` the disk ignores them, and the proof must fail.
    """
    operations = {
        "first save": partial(_saves, 0),
        "save": partial(_saves, 1),
        "save that drops the oldest": partial(_saves, 3),
        "first journal line": partial(_lines, 0),
        "journal line": partial(_lines, 2),
        "file written anew": _rewritten,
        "download": _downloaded,
    }
    figures: dict[str, Any] = {}
    for name, prepare in operations.items():
        with tempfile.TemporaryDirectory() as place:
            figures[name] = _try(Path(place), prepare, count, flushes)
    neither = sum(found["neither"] for found in figures.values())
    states = sum(found["states"] for found in figures.values())
    return {"operations": figures, "states": states, "neither": neither, "passed": neither == 0}


def _try(place: Path, prepare: Prepare, count: int, flushes: bool) -> dict[str, int]:
    root = place / "disk"
    root.mkdir()
    operate, find = prepare(root)
    draw, counts = random.Random(2), Counter[str]()
    seen: list[object] = []
    known: dict[bytes, object] = {}

    def crash(disk: Disk) -> None:
        for left in (disk.left(None, kept=True), disk.left(None), *(disk.left(draw) for _ in range(count))):
            key = hashlib.sha256(repr(sorted(left.items())).encode()).digest()
            if key not in known:
                known[key] = _found(left, place / "left", find)
            seen.append(known[key])

    old = find(root)
    with recorded(root, crash, flushes=flushes) as disk:
        operate()
    new = find(root)
    assert old != new
    for one in seen:
        counts["old" if one == old else "new" if one == new else "neither"] += 1
    # Once the operation has come back, what it did is safe.
    counts["neither"] += _found(disk.left(None), place / "left", find) != new
    told = {key: counts[key] for key in ("old", "new", "neither")}
    return {"points": disk.points, "states": len(seen) + 1, "different": len(known), **told}


def _found(left: Left, target: Path, find: Find) -> object:
    """What the program finds on a disk with just that."""
    lay(left, target)
    try:
        return find(target)
    except ToyNetError as error:
        return f"error: {error}"
    finally:
        shutil.rmtree(target)


def _learner() -> Learner:
    torch.manual_seed(0)
    spec = ModelSpec(name="toynet12", widths=(2, 2, 2, 2))
    model = catalog.build(spec, classes=3, image_shape=(8, 8, 3), seed=0)
    return Learner.fresh(model, OptimSpec(), TrainSpec(ema=0.9))


def _saves(before: int, root: Path) -> tuple[Callable[[], object], Find]:
    learner, folder = _learner(), root / "checkpoints"
    learner.state.best_epoch = 1
    for epoch in range(1, before + 1):
        learner.state.epoch = epoch
        checkpoints.save(folder, learner)
    learner.state.epoch = before + 1

    def find(disk: Path) -> object:
        there = disk / "checkpoints"
        if not checkpoints.names(there):
            return None
        parts, state, damaged = checkpoints.load_latest(there)
        best = checkpoints.best(there)
        return state.epoch, len(parts), len(damaged), best is not None and len(checkpoints.load(best))

    return lambda: checkpoints.save(folder, learner), find


def _lines(before: int, root: Path) -> tuple[Callable[[], object], Find]:
    path = root / "journal.jsonl"
    for number in range(before):
        append_json_line(path, {"run": number}, checked=True)
    return (
        lambda: append_json_line(path, {"run": before, "more": "x" * 500}, checked=True),
        lambda disk: [line["run"] for line in read_json_lines(disk / "journal.jsonl")],
    )


def _rewritten(root: Path) -> tuple[Callable[[], object], Find]:
    write_json(root / "result.json", {"now": "old"})
    return (
        lambda: write_json(root / "result.json", {"now": "new" * 100}),
        lambda disk: read_json(disk / "result.json"),
    )


def _downloaded(root: Path) -> tuple[Callable[[], object], Find]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(_FILE)))
            self.end_headers()
            self.wfile.write(_FILE)

        def log_message(self, *_: object) -> None:
            pass

    def operate() -> None:
        with HTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.handle_request)
            thread.start()
            sha256 = hashlib.sha256(_FILE).hexdigest()
            address = f"http://127.0.0.1:{server.server_port}/a.gz"
            download([address], root / "a.gz", sha256=sha256, limit_bytes=1 << 20)
            thread.join()

    def find(disk: Path) -> object:
        """The file by its name, if it has it; a part of it is taken up by the next call."""
        return (disk / "a.gz").read_bytes() if (disk / "a.gz").exists() else None

    return operate, find
