"""Twenty real A/A studies: python benchmarks/proof_aa.py

The shipped study `aa`, whose arms have no effect, over fresh seeds each time and trained for real on the
built-in images. Whatever is found is an error of the method. Writes results/aa/; a repetition that is
finished is not run again. Exits with 1 where more than three verdicts are not undecided or no difference.
"""

import argparse
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from toynet.core.environment import describe
from toynet.core.files import write_atomic, write_json
from toynet.studies.conduct import conduct
from toynet.studies.folder import Account, StudyFolder
from toynet.studies.spec import StudySpec

OUT = Path(__file__).parents[1] / "results" / "aa"
QUIET = {"undecided", "no meaningful difference"}
MOST_ALARMS = 3
SEEDS_APART = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--studies", type=Path, default=Path("studies"), help="where the study folders go")
    asked = parser.parse_args()
    started = time.perf_counter()
    rows = [row for number in range(asked.repetitions) for row in repeat(number, asked.jobs, asked.studies)]
    alarms = [row for row in rows if row["verdict"] not in QUIET]
    about = {
        "command": "python benchmarks/proof_aa.py",
        "commit": subprocess.check_output(["git", "describe", "--always", "--dirty"], text=True).strip(),
        "date": time.strftime("%Y-%m-%d"),
        "elapsed_s": round(time.perf_counter() - started),
        "alarms": len(alarms),
        "environment": describe(),
    }
    OUT.mkdir(parents=True, exist_ok=True)
    write_json(OUT / "aa.json", about | {"contrasts": rows})
    write_atomic(OUT / "README.md", page(about, rows, asked.repetitions))
    print((OUT / "README.md").read_text())
    sys.exit(1 if len(alarms) > MOST_ALARMS else 0)


def repeat(number: int, jobs: int, root: Path) -> list[dict[str, Any]]:
    """One study; a row for each variant."""
    spec = StudySpec.load("aa", {"first_seed": SEEDS_APART * number})
    folder = StudyFolder(root / f"aa{number:02}")
    found: Account = conduct(spec, folder.path, jobs=jobs, resume=folder.ledger.path.exists())
    print(f"repetition {number}", flush=True)
    return [
        {
            "repetition": number,
            "variant": arm.name,
            "seeds": contrast.seeds,
            "difference": contrast.difference,
            "interval": [contrast.interval.low, contrast.interval.high],
            "p": contrast.p,
            "verdict": contrast.verdict,
        }
        for arm in found.plan.arms[1:]
        if (contrast := found.findings.contrast(arm.name))
    ]


def page(about: dict[str, Any], rows: list[dict[str, Any]], repetitions: int) -> str:
    counts = Counter(row["verdict"] for row in rows)
    studies = {row["repetition"] for row in rows if row["verdict"] not in QUIET}
    words = [f"| {verdict} | {count} |" for verdict, count in counts.most_common()]
    each = [
        f"| {row['repetition']} | {row['variant']} | {row['difference']:+.2f} | "
        f"{row['interval'][0]:+.2f} to {row['interval'][1]:+.2f} | {row['p']:.2f} | {row['verdict']} |"
        for row in rows
    ]
    machine = about["environment"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["packages"].items())
    return "\n".join(
        [
            "# Real A/A studies",
            "",
            f"{repetitions} studies of arms without an effect, each on seeds of its own: **{about['alarms']} "
            f"of {len(rows)} verdicts** in {len(studies)} studies are other than undecided or no meaningful "
            f"difference (at most {MOST_ALARMS} are allowed). One study in twenty may raise an alarm.",
            "",
            "| verdict | times |",
            "|---|---|",
            *words,
            "",
            "| repetition | variant | difference, pp | 95 % interval, simultaneous | p (Holm) | verdict |",
            "|---|---|---|---|---|---|",
            *each,
            "",
            f"`{about['command']}`, {about['date']}, commit {about['commit']}, {about['elapsed_s']} s beside "
            f"other work; {machine['processor']}, {versions}. The study: src/toynet/studies/shipped/aa.toml.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
