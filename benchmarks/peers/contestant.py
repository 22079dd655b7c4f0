"""A contestant's process: builds and warms up, then trains when it is told to. The driver starts it.

    python contestant.py JOB CONTESTANT POOL THREADS    (positions in contests.py, a file, a number of cores)

Standard output carries one JSON line when it is ready and one for each request `{"window_s": 6}` that comes
in on standard input; whatever libraries print goes to standard error. Before it waits it gives the memory
back that it does not use, since all contestants share the machine's; the step after that is not measured.
"""

import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import machine
from contests import CONTESTANTS, JOBS

from toynet.core.memory import forget_peak, peak_resident_mib

PACKAGES = {"ours": ["torch"], "plain_torch": ["torch"], "toynet_keras": ["keras"]}
BACKENDS = {"tensorflow": ["tensorflow-cpu", "tensorflow"], "jax": ["jax", "jaxlib"], "torch": ["torch"]}


def main() -> None:
    job, contestant = JOBS[int(sys.argv[1])], CONTESTANTS[int(sys.argv[2])]
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    machine.take_cores(int(sys.argv[4]))

    started = time.perf_counter()
    program = importlib.import_module(contestant.program)
    trainer = program.build(job, contestant.options, Path(sys.argv[3]))
    if trainer.parameters != job.parameters:
        raise SystemExit(f"{trainer.parameters} parameters, not the {job.parameters} of {job.title}")
    build_s = time.perf_counter() - started
    first_step_s = _measure(trainer.train, 1)["seconds"]
    step_s = _measure(trainer.train, 2)["seconds"] / 2
    ready = {
        "parameters": trainer.parameters,
        "detail": trainer.detail,
        "build_s": round(build_s, 2),
        "first_step_s": round(first_step_s, 2),
        "versions": _versions(PACKAGES[contestant.program] + BACKENDS.get(contestant.backend, [])),
    }
    forget_peak()
    print(json.dumps(ready), file=answers)
    for line in sys.stdin:
        trainer.train(1)
        measured = _measure(trainer.train, max(2, round(json.loads(line)["window_s"] / step_s)))
        step_s = measured["seconds"] / (measured["images"] / job.batch_size)
        measured["peak_mib"] = round(peak_resident_mib())
        forget_peak()
        print(json.dumps(measured), file=answers)


def _measure(train: Callable[[int], tuple[int, float]], steps: int) -> dict[str, float]:
    """Images trained on, the seconds that took, and the processor seconds of all threads."""
    processor_s, started = time.process_time(), time.perf_counter()
    images, done = train(steps)
    return {
        "images": images,
        "seconds": round(done - started, 3),
        "processor_s": round(time.process_time() - processor_s, 3),
    }


def _versions(packages: list[str]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    main()
