"""Goal 4: the newest checkpoint damaged in every way; it is noticed and the one before is used."""

import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from reliability import tiny
from toynet.core.errors import CheckpointError
from toynet.training import checkpoints

COUNT = 500
SHORT = 60
KINDS = "bit flipped", "truncated", "page zeroed", "emptied", "missing", "bytes added"
_PAGE = 4096


def prove(count: int) -> dict[str, Any]:
    """Damage a file of the newest checkpoint `count` times, as drawn; load what is newest and whole."""
    draw, one = random.Random(3), tiny.recipe(**{"train.epochs": 2})
    kinds: Counter[str] = Counter()
    noticed = named = silent = 0
    with tempfile.TemporaryDirectory() as name:
        tiny.run(Path(name) / "run", one, tiny.images(one))
        folder = Path(name) / "run" / "checkpoints"
        older, newest = (folder / found for found in checkpoints.names(folder)[-2:])
        expected, _ = checkpoints.load(older)
        kept = shutil.copytree(newest, Path(name) / "kept")
        files = sorted(file.name for file in kept.iterdir())
        while kinds.total() < count:
            file, kind = newest / draw.choice(files), draw.choice(KINDS)
            before = file.read_bytes()
            after = _damaged(before, kind, draw)
            if after == before:
                continue
            kinds[kind] += 1
            file.unlink()
            if after is not None:
                file.write_bytes(after)
            try:
                parts, _, passed_over = checkpoints.load_latest(folder)
            except CheckpointError:
                parts, passed_over = {}, []
            noticed += len(passed_over) == 1 and _equal(parts, expected)
            # A manifest that was altered may be told as the file that it no longer fits.
            named += len(passed_over) == 1 and f"{newest}/" in passed_over[0]
            silent += not passed_over
            file.write_bytes(before)
    return {
        "mutations": kinds.total(),
        "by_kind": dict(kinds),
        "noticed_and_the_one_before_used": noticed,
        "message_names_the_file": named,
        "loaded_silently": silent,
        "passed": noticed == named == kinds.total() and not silent,
    }


def _damaged(content: bytes, kind: str, draw: random.Random) -> bytes | None:
    where = draw.randrange(len(content))
    match kind:
        case "bit flipped":
            return content[:where] + bytes([content[where] ^ 1 << draw.randrange(8)]) + content[where + 1 :]
        case "truncated":
            return content[:where]
        case "page zeroed":
            start = where - where % _PAGE
            page = content[start : start + _PAGE]
            return content[:start] + b"\0" * len(page) + content[start + _PAGE :]
        case "emptied":
            return b""
        case "bytes added":
            return content + draw.randbytes(draw.randint(1, 99))
    return None


def _equal(one: checkpoints.Parts, other: checkpoints.Parts) -> bool:
    return one.keys() == other.keys() and all(
        one[part].keys() == other[part].keys() and all(one[part][k].equal(other[part][k]) for k in one[part])
        for part in one
    )
