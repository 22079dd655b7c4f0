"""The proofs of docs/reliability.md: python benchmarks/proof_reliability.py [GOAL ...] [--count N]

Each goal writes its figures to results/reliability/GOAL.json; without a name all are proven, in their long
form. `--short` is the form of the tests. Exits with 1 where one does not hold.
"""

import argparse
import importlib
import subprocess
import sys
import time
from pathlib import Path

import torch

from toynet.core.environment import describe
from toynet.core.files import make_folder, write_json

HERE = Path(__file__).parent
OUT = HERE.parent / "results" / "reliability"
GOALS = (
    "kills",
    "crash_points",
    "stops",
    "damage",
    "full_disk",
    "interrupts",
    "nonfinite",
    "locks",
    "studies",
    "sameness",
    "cuts",
    "hostile",
    "payloads",
    "fuzz",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("goals", nargs="*", choices=[*GOALS, []], metavar="GOAL", help=", ".join(GOALS))
    parser.add_argument("--count", type=int, help="how many trials; by default the goal's own number")
    parser.add_argument("--short", action="store_true", help="as few trials as the tests make")
    parser.add_argument("--out", type=Path, default=OUT)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    failed = [goal for goal in asked.goals or GOALS if not prove(goal, asked)]
    sys.exit(1 if failed else 0)


def prove(goal: str, asked: argparse.Namespace) -> bool:
    """Prove one goal, write its figures down and print them; whether it holds."""
    room = importlib.import_module(f"reliability.{goal}")
    count = asked.count or (room.SHORT if asked.short else room.COUNT)
    started = time.perf_counter()
    figures = room.prove(count)
    about = {
        "goal": " ".join((room.__doc__ or "").split("\n\n")[0].split()),
        "command": f"python benchmarks/proof_reliability.py {goal} --count {count}",
        "commit": subprocess.check_output(
            ["git", "describe", "--always", "--dirty"], text=True, cwd=HERE
        ).strip(),
        "date": time.strftime("%Y-%m-%d"),
        "elapsed_s": round(time.perf_counter() - started, 1),
        "environment": describe(),
    }
    make_folder(asked.out)
    write_json(asked.out / f"{goal}.json", about | figures)
    print(f"{goal}: {figures}", flush=True)
    return bool(figures["passed"])


if __name__ == "__main__":
    main()
