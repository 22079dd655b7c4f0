"""Goal 17: checkpoints altered, hashes made to fit: a clear error or a whole load, small memory."""

import hashlib
import json
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from reliability import tiny
from toynet.core.errors import CheckpointError
from toynet.core.memory import forget_peak, peak_resident_mib
from toynet.runs import subject
from toynet.training import checkpoints
from toynet.training.learner import Learner

COUNT = 600
"""Seconds. The goal's hour is `--count 3600`."""

SHORT = 3
_LARGE_MB = 64
_WORDS = "null", "-1", "1e999", "NaN", "[]", "{}", '"x"', "true", "99999999999999999999", '"\\ud800"'


def prove(count: int) -> dict[str, Any]:
    """For `count` seconds, in a child: a crash ends that child, and is found so."""
    one = tiny.recipe(**{"train.epochs": 1})
    about = tiny.images(one)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        tiny.run(place / "run", one, about)
        code = tiny.ended(tiny.fork(lambda: _fuzz(place, one, about, count)), timeout_s=count + 300)
        told = place / "told.json"
        figures: dict[str, Any] = json.loads(told.read_text()) if told.exists() else {}
        times = _memory_times(place)
    clean = code == 0 and not figures.get("other_errors")
    return {
        "seconds": count,
        "exit_code": code,
        **figures,
        "peak_memory_over_file": round(times, 2),
        "passed": clean and times <= 2.0,
    }


def _fuzz(place: Path, one: tiny.Recipe, about: tiny.Subject, seconds: float) -> None:
    draw, outcomes, strange = random.Random(17), Counter[str](), []
    folder = place / "run" / "checkpoints"
    good = folder / checkpoints.names(folder)[-1]
    kept = {file.name: file.read_bytes() for file in good.iterdir()}
    learner = Learner.fresh(subject.build_model(one, about.card), one.optim, one.train)
    trial = place / "trial"
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        files = dict(kept)
        name = draw.choice(sorted(files))
        files[name] = _altered(files[name], name, draw)
        if name != "manifest.json":
            hashes = {n: hashlib.sha256(raw).hexdigest() for n, raw in files.items() if n != "manifest.json"}
            files["manifest.json"] = json.dumps(hashes).encode()
        trial.mkdir()
        for file, raw in files.items():
            (trial / file).write_bytes(raw)
        try:
            parts, state = checkpoints.load(trial)
            learner.restore(parts, state)
            outcomes["loaded"] += 1
        except CheckpointError:
            outcomes["refused"] += 1
        except Exception as error:
            outcomes["other errors"] += 1
            strange.append(f"{name}: {type(error).__name__}: {error}"[:200])
        shutil.rmtree(trial)
    told = {"trials": outcomes.total(), "outcomes": dict(outcomes), "other_errors": strange[:10]}
    (place / "told.json").write_text(json.dumps(told))


def _altered(raw: bytes, name: str, draw: random.Random) -> bytes:
    """Bytes changed anywhere; words of JSON, or a header's numbers, changed so that it still is one."""
    kind = draw.randrange(4)
    if kind == 0:
        where = draw.randrange(len(raw))
        return raw[:where] + draw.randbytes(draw.randint(1, 8)) + raw[where + draw.randint(0, 8) :]
    if kind == 1:
        return raw[: draw.randrange(len(raw))] + draw.randbytes(draw.choice([0, 0, 100]))
    if name.endswith(".json"):
        text = raw.decode()
        words = text.split('": ')
        at = draw.randrange(1, len(words)) if len(words) > 1 else 0
        end = min(k for k in (words[at].find(c) for c in ",\n}") if k >= 0) if at else 0
        words[at] = draw.choice(_WORDS) + words[at][end:]
        return '": '.join(words).encode()
    length = int.from_bytes(raw[:8], "little")
    header, data = raw[8 : 8 + length], raw[8 + length :]
    for _ in range(draw.randint(1, 3)):
        digits = [k for k, byte in enumerate(header) if 48 <= byte <= 57]
        where = draw.choice(digits)
        new = draw.choice([b"9", b"0", b"99999999999", b"-1", b'"', b"}"])
        header = header[:where] + new + header[where + 1 :]
    size = len(header) if draw.random() < 0.8 else draw.choice([0, 1 << 40, (1 << 64) - 1])
    return size.to_bytes(8, "little") + header + data


def _memory_times(place: Path) -> float:
    """The most memory that loading takes, over the size of a checkpoint of one large file."""
    import torch

    folder = place / "large"
    folder.mkdir()
    told = place / "memory"

    def measure() -> None:
        from toynet.training.state import TrainState

        tensors = {"w": torch.ones(_LARGE_MB << 18)}
        checkpoints._write_tensors(folder / "model.safetensors", tensors)
        del tensors
        (folder / "state.json").write_text(json.dumps(TrainState().to_json()))
        hashes = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
        (folder / "manifest.json").write_text(json.dumps(hashes))
        forget_peak()
        before = peak_resident_mib()
        loaded = checkpoints.load(folder)
        assert loaded[0]["model"]["w"].sum()  # all of it is in memory now
        told.write_text(str((peak_resident_mib() - before) / _LARGE_MB))
        del loaded

    assert tiny.ended(tiny.fork(measure)) == 0
    assert os.path.exists(told)
    return float(told.read_text())
