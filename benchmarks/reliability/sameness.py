"""Goal 11: one recipe and seed by the command line, in Python, in a study and resumed: equal to the bit."""

import json
import os
import random
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from reliability import golden, studies, tiny
from toynet.studies.conduct import conduct

COUNT = 20
SHORT = 4


def prove(count: int) -> dict[str, Any]:
    """`count` runs, by the four ways in turn; weights, average and optimiser of all are compared."""
    draw, ways, found = random.Random(11), Counter[str](), Counter[str]()
    changes = {"train.epochs": 2}
    one = tiny.recipe(**changes)
    about = tiny.images(one)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        os.environ["TOYNET_RUNS"] = name
        for number in range(count):
            way = ("command line", "Python", "resumed", "study")[number % 4]
            path = place / f"run{number}"
            if way == "command line":
                words = ["train", "quick", "--name", path.name, *tiny.overrides(one)]
                tiny.ended(tiny.fork(lambda a=words: tiny.command(a, place / "log")))
            elif way == "Python":
                tiny.run(path, one, about)
            elif way == "resumed":
                child = tiny.fork(lambda p=path: tiny.run(p, one, about))
                time.sleep(draw.uniform(0, 0.5))
                os.kill(child, draw.choice([signal.SIGKILL, signal.SIGTERM]))
                tiny.ended(child)
                tiny.ended(tiny.fork(lambda p=path: tiny.run(p, one, about)))
            else:
                with studies.forked_workers():
                    conduct(studies.spec(seeds=2), path, jobs=2)
                path = path / "runs" / "control-s0"
            ways[way] += 1
            found[tiny.weights(path)] += 1
    committed = json.loads(golden.COMMITTED.read_text())
    return {
        "runs": count,
        "by_way": dict(ways),
        "different_results": len(found),
        "sha256": next(iter(found)),
        "golden_hashes": len(committed),
        "golden_hashes_equal_here": golden.hashes() == committed,
        "passed": len(found) == 1,
    }
