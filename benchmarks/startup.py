"""How long until something happens: python benchmarks/startup.py > results/startup.json

Seconds, median of five, each in a process of its own: `toynet --help`, what the shell waits for at a
completion, and from the start of a process to the end of the first training step of some recipes - with
nothing remembered and no kernels compiled yet, and once more with both. Needs CIFAR-10 in $TOYNET_DATA. Run
it on an otherwise idle machine; it takes about three minutes.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from toynet.core.environment import describe

ROUNDS = 5
TOYNET = Path(sys.executable).with_name("toynet")
RECIPES = "quick", "default"
FIRST_STEP = """
import sys
from pathlib import Path
import toynet
from toynet.core.reporter import Silent

class Stop(Exception):
    pass

class First(Silent):
    def begin(self, what, total, unit):
        self.training = what.startswith("epoch")

    def advance(self, count):
        if self.training:
            raise Stop

try:
    toynet.train(sys.argv[1], name="first", root=Path(sys.argv[2]), reporter=First())
except Stop:
    pass
"""


def main() -> None:
    found = {"toynet --help": timed([str(TOYNET), "--help"], {})}
    complete = {"_TOYNET_COMPLETE": "complete_bash", "COMP_WORDS": "toynet tr", "COMP_CWORD": "1"}
    found["completion of `toynet tr`"] = timed([str(TOYNET)], complete)
    for recipe in RECIPES:
        with tempfile.TemporaryDirectory() as cache:
            shared = {"XDG_CACHE_HOME": cache}
            found[f"first step of {recipe}, nothing remembered"] = first_step(recipe, shared, rounds=1)
            found[f"first step of {recipe}"] = first_step(recipe, shared, rounds=ROUNDS)
    print(json.dumps({"seconds": found, "environment": describe()}, indent=2))


def first_step(recipe: str, environment: dict[str, str], *, rounds: int) -> float:
    with tempfile.TemporaryDirectory() as root:
        taken = [
            timed([sys.executable, "-c", FIRST_STEP, recipe, f"{root}/{number}"], environment, rounds=1)
            for number in range(rounds)
        ]
    return round(statistics.median(taken), 2)


def timed(command: list[str], environment: dict[str, str], rounds: int = ROUNDS) -> float:
    """The median time of `command` to its end."""
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        subprocess.run(command, env=os.environ | environment, check=True, stdout=subprocess.DEVNULL)
        taken.append(time.perf_counter() - started)
    return round(statistics.median(taken), 2)


if __name__ == "__main__":
    main()
