"""What rigour costs: python benchmarks/rigour.py --study studies/quickstart > results/rigour.json

Three costs of a study besides its training. The machinery of one run: how long a study of tiny runs takes
for each run in one process that is warm, less what the same runs take one by one in this process. The journal
of 10,000 runs with 5,000 validation images each: how long until it is read. The page of the study that is
given: how long until it is written. Medians of five; on an idle machine.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import toynet
from toynet.core.environment import describe
from toynet.core.files import canonical_json
from toynet.core.reporter import Silent
from toynet.runs import execute
from toynet.studies import design
from toynet.studies.conduct import Nobody, conduct
from toynet.studies.ledger import Entry, Ledger, pack
from toynet.studies.spec import StudySpec

ROUNDS = 5
RUNS = 10_000
IMAGES = 5_000
TINY = {
    "recipe": "quick",
    "seeds": 5,
    "set": {
        "data.name": "glyphs:1000",
        "model.widths": [8, 8, 8, 8],
        "train.epochs": 2,
        "train.precision": "fp32",
        "train.kernels": "direct",
        "train.memory_format": "channels_last",
    },
    "variant": {"flip": {"augment.flip": "random"}},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--study", type=Path, required=True, help="a study's folder, with its runs")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        in_study = [per_run_in_study(root / f"study{number}") for number in range(ROUNDS)]
        alone = [per_run_alone(root / f"runs{number}") for number in range(ROUNDS)]
        journal = Ledger(root)
        write_journal(journal)
        found = {
            "run_in_study_s": spread(in_study),
            "run_alone_s": spread(alone),
            "machinery_per_run_s": round(statistics.median(in_study) - statistics.median(alone), 3),
            "ledger": {"runs": RUNS, "images": IMAGES, "read_s": timed(journal.entries)},
            "page": {
                "study": asked.study.name,
                "runs": len(list((asked.study / "runs").iterdir())),
                "written_s": timed(lambda: toynet.report([asked.study], output=root / "page.html")),
            },
        }
    about = {
        "command": "python benchmarks/rigour.py --study studies/quickstart",
        "commit": subprocess.check_output(["git", "describe", "--always", "--dirty"], text=True).strip(),
        "date": time.strftime("%Y-%m-%d"),
        "environment": describe(),
    }
    json.dump(about | found, sys.stdout, indent=2)
    print()


def per_run_in_study(path: Path) -> float:
    """Seconds from the first run's end to the last one's, by run: the process is warm then."""

    class Clock(Nobody):
        def __init__(self) -> None:
            self.ends: list[float] = []

        def ended(self, entry: Entry) -> None:
            self.ends.append(time.perf_counter())

    clock = Clock()
    conduct(StudySpec.from_table("tiny", TINY), path, jobs=1, audience=clock)
    return (clock.ends[-1] - clock.ends[0]) / (len(clock.ends) - 1)


def per_run_alone(root: Path) -> float:
    """Seconds of one of the same runs by itself, after a first one, without pictures as in a study."""
    recipe = design.arms(StudySpec.from_table("tiny", TINY))[0].recipe
    ends = []
    for seed in range(5):
        execute.start(
            recipe.with_changes({"train.seed": seed}),
            root / f"s{seed}",
            data_root=None,
            reporter=Silent(),
            illustrate=lambda folder: None,
        )
        ends.append(time.perf_counter())
    return (ends[-1] - ends[0]) / (len(ends) - 1)


def write_journal(ledger: Ledger) -> None:
    """All lines at once: flushing each to the disk is what a study does in hours."""
    bits = np.random.default_rng(0).random((RUNS, IMAGES)) < 0.9
    lines = (
        Entry(
            arm=f"arm{run % 10}",
            seed=run // 10,
            outcome="finished",
            val_accuracy=float(bits[run].mean()),
            correct=pack(bits[run]),
            images=IMAGES,
        )
        for run in range(RUNS)
    )
    ledger.path.write_text(
        "".join(canonical_json({"run": line.model_dump(mode="json")}) + "\n" for line in lines)
    )


def timed(work: Callable[[], object]) -> dict[str, float]:
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return spread(seconds)


def spread(seconds: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(seconds), 3),
        "least": round(min(seconds), 3),
        "most": round(max(seconds), 3),
    }


if __name__ == "__main__":
    main()
