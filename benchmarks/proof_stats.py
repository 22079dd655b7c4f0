"""Are the verdicts right as often as they say? `make proof-stats`, into results/stats/.

About five minutes of one core. Exits with 1 where a bound does not hold.
"""

import subprocess
import sys
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import invented_studies as studies
import numpy as np
from invented_studies import Counts
from proof_bounds import Proof, prove

from toynet.core.environment import describe
from toynet.core.files import write_atomic, write_json

OUT = Path(__file__).parents[1] / "results" / "stats"

PAGE = """# Are the verdicts right as often as they say?

**{held} of {bounds} bounds hold.**{broken}

Written by `{command}` (benchmarks/proof_stats.py, about {minutes} minutes of one core). Studies are
invented, so that the truth is known, and go through `toynet.stats.compare` as a user's would. All figures are
per cent of studies. How to read the words: [docs/statistics.md](../../docs/statistics.md).

The invented runs: normal scores around {centre:g} %, standard deviation {sigma:g} pp across seeds, K variants
beside a control. *rho* is the correlation of two arms on one seed. The margin is {margin:g} pp. `fixed` is
{fixed} seeds; `auto` looks at 5, 8, 12 and 20 seeds; `open` judges after every seed, here up to {auto}.

## Nothing differs

*False positive*: the study calls at least one variant different. 5 % are promised, 4 to 6 % are asked for.
With {null_studies:,} studies a rate of 5 % has a standard error of {null_error:.2f} points.
*Pairs alone*: arms seemed to differ in spread, so that each pair was judged by its own.

{nulls}

## A chain of {chain} arms in which nothing differs

Each arm is judged against the one before: {pairs} pairs that share the 5 % (`family={pairs}`). The last
column: the same studies if every pair had 5 % to itself.

{chains}

## One arm is noisier

Nothing differs in the mean, and one arm's standard deviation is doubled. The rule that then judges each pair
by its own spread does not always see it: up to 7 % are accepted.

{noisy}

## Planted: the first variant is better by {effect:g} pp

*Found*: its interval lies above zero. *Promised*: what `toynet.stats.power` says beforehand; found must lie
within 3 points of it. *Coverage*: the intervals of all variants hold their truths, 94 to 96 % asked for.
Under `auto` more is normal, since an arm that stops early has an interval of that look, which is wider.
*Wrong sign*: its interval lies below zero, under 0.5 % asked for. *Seeds*: the mean that the first variant
took.

{planted}

## Looking after every seed

`open` promises at most 5 % for any number of looks, and at least the power of its last look.

{open}

## Probability of improvement

The 95 % interval of "better in ... % of pairings" held the true probability in {least_better:.1f} to
{most_better:.1f} % of studies, over all the kinds above but the chain. Nothing is asked for here.

## Per-image results

Five seeds, one variant, {images_each:,} test images, drawn anew for every study. *Real spread* is how much
a run's true quality varies. The floor under the spread is on and can only widen: at least 94 % asked for.
*Seeds only*: how often the narrow interval holds the difference on new images, which is why there are two.

{images}

Commit {commit}, {elapsed_s} s on a shared machine, {processor_s} s of one core's time. {versions};
{processor}. Every count and bound: [proof.json](proof.json).
"""


def main() -> None:
    commit = subprocess.check_output(["git", "describe", "--always", "--dirty"], text=True).strip()
    started, worked = time.perf_counter(), time.process_time()
    proof = prove(studies.NULL_STUDIES, studies.STUDIES, tell=lambda line: print(line, flush=True))
    about = {
        "command": "make proof-stats",
        "commit": commit,
        "elapsed_s": round(time.perf_counter() - started),
        "processor_s": round(time.process_time() - worked),
        "packages": {name: version(name) for name in ("numpy", "scipy", "statsmodels")},
        "environment": describe(),
    }
    broken = [bound for bound in proof.checks if not bound.holds]
    OUT.mkdir(parents=True, exist_ok=True)
    write_json(
        OUT / "proof.json",
        about
        | {
            "counts": [counts.model_dump() for counts in proof.counts],
            "chains": [chain.model_dump() for chain in proof.chains],
            "images": [one.model_dump() for one in proof.images],
            "checks": [bound.model_dump() | {"holds": bound.holds} for bound in proof.checks],
        },
    )
    write_atomic(OUT / "README.md", page(about, proof))
    for bound in broken:
        print(f"broken: {bound.what}: {bound.measured:.4f}, not in [{bound.low:.4f}, {bound.high:.4f}]")
    print(f"{len(proof.checks) - len(broken)} of {len(proof.checks)} bounds hold; {OUT / 'README.md'}")
    sys.exit(1 if broken else 0)


def page(about: dict[str, Any], proof: Proof) -> str:
    broken = [bound for bound in proof.checks if not bound.holds]
    standard = [c for c in proof.counts if not c.cell.spreads and c.cell.plan != "open"]
    better = [100 * c.improvement_coverage for c in proof.counts]
    packages = {"Python": about["environment"]["python"]} | about["packages"]
    return PAGE.format(
        **about,
        minutes=round(about["processor_s"] / 60),
        centre=studies.CENTRE,
        sigma=studies.SIGMA,
        margin=studies.MARGIN,
        effect=studies.EFFECT,
        fixed=studies.FIXED,
        auto=studies.AUTO,
        chain=studies.CHAIN,
        pairs=studies.CHAIN - 1,
        images_each=studies.IMAGES,
        null_studies=studies.NULL_STUDIES,
        null_error=100 * np.sqrt(0.05 * 0.95 / studies.NULL_STUDIES),
        held=len(proof.checks) - len(broken),
        bounds=len(proof.checks),
        broken="".join(
            f"\n\nBroken: {b.what}: {100 * b.measured:.2f} %, "
            f"not in {100 * b.low:.1f} to {100 * b.high:.1f} %, by {b.misses():.1f} standard errors."
            for b in broken
        ),
        nulls=_nulls(c for c in standard if not c.cell.effect),
        noisy=_table(
            "plan|K|spreads, control first|studies|false positives|pairs alone",
            [
                (
                    c.cell.plan,
                    c.cell.variants,
                    "/".join(f"{s:g}" for s in c.cell.spreads),
                    f"{c.studies:,}",
                    *_percents(c.false_positives, c.own_spread),
                )
                for c in proof.counts
                if c.cell.spreads
            ],
        ),
        planted=_planted(c for c in standard if c.cell.effect),
        open=_nulls(c for c in proof.counts if c.cell.plan == "open" and not c.cell.effect)
        + "\n\n"
        + _planted(c for c in proof.counts if c.cell.plan == "open" and c.cell.effect),
        chains=_table(
            "plan|studies|false positives|without the family",
            [
                (c.plan, f"{c.studies:,}", *_percents(c.false_positives, c.without_family))
                for c in proof.chains
            ],
        ),
        images=_table(
            "real spread|studies|this test set|new images|new images, seeds only",
            [
                (
                    f"{i.real_spread:g}",
                    f"{i.studies:,}",
                    *_percents(i.this_test_set, i.new_images, i.seeds_only_on_new_images),
                )
                for i in proof.images
            ],
        ),
        least_better=min(better),
        most_better=max(better),
        versions=", ".join(f"{name} {number}" for name, number in packages.items()),
        processor=about["environment"]["processor"],
    )


def _nulls(found: Iterable[Counts]) -> str:
    return _table(
        "plan|K|rho|studies|false positives|pairs alone",
        [(*_of(c), *_percents(c.false_positives, c.own_spread)) for c in found],
    )


def _planted(found: Iterable[Counts]) -> str:
    return _table(
        "plan|K|rho|studies|found|promised|coverage|wrong sign|seeds",
        [
            (
                *_of(c),
                *_percents(c.found, c.promised, c.coverage),
                f"{100 * c.wrong_sign:.2f}",
                f"{c.mean_seeds:.1f}",
            )
            for c in found
        ],
    )


def _of(c: Counts) -> tuple[object, ...]:
    return c.cell.plan, c.cell.variants, f"{c.cell.rho:g}", f"{c.studies:,}"


def _percents(*shares: float | None) -> tuple[str, ...]:
    return tuple("" if share is None else f"{100 * share:.1f}" for share in shares)


def _table(head: str, rows: Iterable[tuple[object, ...]]) -> str:
    names = head.split("|")
    lines = (names, ["---"] * len(names), *rows)
    return "\n".join(f"| {' | '.join(str(cell) for cell in row)} |" for row in lines)


if __name__ == "__main__":
    main()
