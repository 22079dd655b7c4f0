"""A recipe's score over seeds: python benchmarks/seeds.py fast --seeds 5

Trains the recipe on the real CIFAR-10 with seeds 0, 1, ..., one after the other, each with the command that a
user would type and in a process of its own, and measures the machine's bf16 matrix product before and after
each. Cost is what the whole command took, from its start to its end, times that rate: data, training,
evaluation and pictures. Writes results/RECIPE/: every seed's records, and a table. A seed that is finished
is not trained again, and one that broke off goes on. Their cost is left out, and with --beside that of all: a
machine that does other work tells nothing about cost. Needs CIFAR-10 in $TOYNET_DATA.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from scipy import stats

from toynet.core.environment import describe
from toynet.core.files import read_json, write_atomic, write_json
from toynet.training.precision import BF16_FLAGS

HERE = Path(__file__).resolve().parent
TOYNET = Path(sys.executable).with_name("toynet")
KEPT = "recipe.toml", "result.json", "metrics.jsonl", "environment.json"
RATE = """
import json, sys
import torch
from toynet.speed.limits import limits
torch.set_num_threads(int(sys.argv[1]))
print(json.dumps(limits("cpu", seconds=4.0).bf16_gflops))
"""


def main() -> None:
    asked = arguments()
    folder = HERE.parent / "results" / asked.recipe
    for seed in range(asked.seeds):
        kept = folder / f"seed{seed}"
        if not (kept / "result.json").exists():
            train(asked, seed, kept)
    rows = [read_json(folder / f"seed{seed}" / "cost.json") for seed in range(asked.seeds)]
    write_atomic(folder / "README.md", page(asked.recipe, rows))
    print((folder / "README.md").read_text())


def train(asked: argparse.Namespace, seed: int, kept: Path) -> None:
    """One seed, from the command to its records in `kept`."""
    run = asked.runs / f"{asked.recipe}-seed{seed}"
    command = [str(TOYNET), "train", asked.recipe, "--seed", str(seed), "--name", run.name]
    command += ["--threads", str(asked.threads), *(["--resume"] if run.exists() else [])]
    begun = run.exists() or asked.beside
    before = None if begun else rate(asked.threads)
    started = time.perf_counter()
    subprocess.run(command, check=True, env=os.environ | {"TOYNET_RUNS": str(asked.runs)})
    wall_s = None if begun else time.perf_counter() - started
    after = None if begun else rate(asked.threads)
    result: dict[str, Any] = read_json(run / "result.json")
    cost = {
        "command": " ".join(["toynet", *command[1:]]),
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit(),
        "seed": seed,
        "test_accuracy": result["test_accuracy"],
        "test_loss": result["test_loss"],
        "epochs": result["epochs"],
        "parameters": result["parameters"],
        "train_s": result["train_s"],
        "wall_s": wall_s,
        "threads": result["threads"],
        "bf16_gflops": [before, after],
        "operations": wall_s * (before + after) / 2 * 1e9 if wall_s and before and after else None,
        "environment": describe(),
    }
    kept.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        shutil.copyfile(run / name, kept / name)
    write_json(kept / "cost.json", cost)


def rate(threads: int) -> float:
    """GFLOP/s of the machine's bf16 matrix product."""
    done = subprocess.run(
        [sys.executable, "-c", RATE, str(threads)], stdout=subprocess.PIPE, check=True, text=True
    )
    found: float = json.loads(done.stdout)
    return round(found, 1)


def page(recipe: str, rows: list[dict[str, Any]]) -> str:
    """All seeds in a table, under their mean."""
    first = rows[0]
    scores = [100 * row["test_accuracy"] for row in rows]
    about = first["environment"]
    versions = ", ".join(f"{name} {number}" for name, number in about["packages"].items())
    lines = [
        f"# `{recipe}` over {len(rows)} seeds" if len(rows) > 1 else f"# `{recipe}`, one seed",
        "",
        f"Test accuracy **{statistics.mean(scores):.2f} %**{spread(scores)}. "
        f"{first['epochs']} epochs, {first['parameters']:,} parameters. "
        "All seeds are shown; each read the test images once.",
        "",
        cost(rows),
        "",
        "| seed | test accuracy % | test loss | threads | training s | in all s | bf16 GF/s | operations |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        rates = ", ".join(f"{rate:,.0f}" for rate in row["bf16_gflops"] if rate) or "not measured"
        operations = mean_of([row], "operations", ".2e") if has_bf16(row) else "not comparable"
        lines.append(
            f"| {row['seed']} | {100 * row['test_accuracy']:.2f} | {row['test_loss']:.4f} | "
            f"{row['threads']} | {row['train_s']:.0f} | {mean_of([row], 'wall_s', '.0f')} | "
            f"{rates} | {operations} |"
        )
    lines += [
        "",
        f"`python benchmarks/seeds.py {recipe} --seeds {len(rows)}`; each seed by `{first['command']}`. "
        f"{first['date']}, commit {first['commit']}, {about['processor']}, {about['cores']} cores, "
        f"{versions}. Recipe, metrics, result and environment of each seed are beside this file.",
        "",
    ]
    return "\n".join(lines)


def spread(scores: list[float]) -> str:
    """How far seeds lie apart, where there are several."""
    if len(scores) == 1:
        return ""
    mean, deviation = statistics.mean(scores), statistics.stdev(scores)
    reach = stats.t.ppf(0.975, len(scores) - 1) * deviation / len(scores) ** 0.5
    return (
        f", 95 % interval of the mean {mean - reach:.2f} to {mean + reach:.2f} "
        f"(t, over seeds on this test set), standard deviation {deviation:.2f}"
    )


def cost(rows: list[dict[str, Any]]) -> str:
    """What a seed took, in one line."""
    rows = [row for row in rows if row["wall_s"] is not None]
    if not rows:
        return (
            "Cost was not measured: the seeds were trained beside other work, "
            "and training seconds hold what they waited."
        )
    times = (
        f"Wall time of the whole command, where measured, {mean_of(rows, 'wall_s', '.0f')} s, training alone "
        f"{mean_of(rows, 'train_s', '.0f')} s"
    )
    if not has_bf16(rows[0]):
        return (
            f"{times}, on a processor without instructions for bf16, whose product says nothing of the cost."
        )
    return f"{times}; wall time x bf16 product {mean_of(rows, 'operations', '.2e')} operations."


def has_bf16(row: dict[str, Any]) -> bool:
    return not BF16_FLAGS.isdisjoint(row["environment"]["flags"])


def mean_of(rows: list[dict[str, Any]], key: str, form: str) -> str:
    """The mean of what was measured."""
    known = [row[key] for row in rows if row[key] is not None]
    return format(statistics.mean(known), form) if known else "not measured"


def commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=HERE, stdout=subprocess.PIPE, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the run folders go")
    parser.add_argument("--beside", action="store_true", help="beside other work: do not measure the cost")
    return parser.parse_args()


if __name__ == "__main__":
    main()
