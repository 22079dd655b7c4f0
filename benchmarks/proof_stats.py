"""Are the verdicts right as often as they say? `make proof-stats`, into results/stats/.

About ten minutes of one core. Exits with 1 where a bound does not hold.
"""

import subprocess
import sys
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import invented_studies as studies
from invented_studies import Check, Counts, ImageCounts

from toynet.core.environment import describe
from toynet.core.files import write_atomic, write_json

OUT = Path(__file__).parents[1] / "results" / "stats"

PAGE = """# Are the verdicts right as often as they say?

Written by `{command}` (benchmarks/proof_stats.py). Studies are invented, so that the truth is known, and
go through `toynet.stats.compare`. One run has a standard deviation of {sigma} pp across seeds, the margin is
{margin} pp, an effect of {effect} pp is planted in one of K variants, or nothing differs. `fixed` is {fixed}
seeds, `auto` looks at 5, 8, 12 and 20, `open` goes on to {auto} here. Figures are per cent of studies.

**{held} of {bounds} bounds hold**; [proof.json](proof.json) lists them.

{nulls}

{planted}

`own spreads`: studies in which arms differed in spread, so that pairs were judged by their own.

With per-image results, five seeds, one variant. The floor under the spread is on, so that intervals can
only be wider.

{images}

Commit {commit}, {elapsed_s} s on a shared machine, {processor_s} s of one core's time. {versions};
{processor}.
"""


def main() -> None:
    started, worked = time.perf_counter(), time.process_time()
    found, images, bounds = studies.prove(
        studies.NULL_STUDIES, studies.STUDIES, tell=lambda line: print(line, flush=True)
    )
    about = {
        "command": "make proof-stats",
        "commit": subprocess.check_output(["git", "describe", "--always", "--dirty"], text=True).strip(),
        "elapsed_s": round(time.perf_counter() - started),
        "processor_s": round(time.process_time() - worked),
        "packages": {name: version(name) for name in ("numpy", "scipy", "statsmodels")},
        "environment": describe(),
    }
    broken = [bound for bound in bounds if not bound.holds]
    OUT.mkdir(parents=True, exist_ok=True)
    write_json(
        OUT / "proof.json",
        about
        | {
            "counts": [counts.model_dump() for counts in found],
            "images": [one.model_dump() for one in images],
            "checks": [bound.model_dump() | {"holds": bound.holds} for bound in bounds],
        },
    )
    write_atomic(OUT / "README.md", page(about, found, images, bounds))
    for bound in broken:
        print(f"broken: {bound.what}: {bound.measured:.4f}, not in [{bound.low:.4f}, {bound.high:.4f}]")
    print(f"{len(bounds) - len(broken)} of {len(bounds)} bounds hold; {OUT / 'README.md'}")
    sys.exit(1 if broken else 0)


def page(about: dict[str, Any], found: list[Counts], images: list[ImageCounts], bounds: list[Check]) -> str:
    nulls = [
        (*_of(c), *_percents(c.false_positives, c.own_spread, c.improvement_coverage))
        for c in found
        if not c.cell.effect
    ]
    planted = [
        (
            *_of(c),
            *_percents(c.found, c.promised, c.coverage, c.wrong_sign, c.improvement_coverage),
            f"{c.mean_seeds:.1f}",
        )
        for c in found
        if c.cell.effect
    ]
    pictured = [
        (
            f"{i.real_spread:g}",
            f"{i.studies:,}",
            *_percents(i.this_test_set, i.new_images, i.seeds_only_on_new_images),
        )
        for i in images
    ]
    packages = {"Python": about["environment"]["python"]} | about["packages"]
    return PAGE.format(
        **about,
        sigma=studies.SIGMA,
        margin=studies.MARGIN,
        effect=studies.EFFECT,
        fixed=studies.FIXED,
        auto=studies.AUTO,
        held=sum(bound.holds for bound in bounds),
        bounds=len(bounds),
        nulls=_table("nothing differs|studies|false positives|own spreads|true P(better) held", nulls),
        planted=_table(
            "planted|studies|found|promised|all truths held|wrong sign|true P(better) held|seeds", planted
        ),
        images=_table(
            "real spread|studies|this test set|new images|new images, if only seeds counted", pictured
        ),
        versions=", ".join(f"{name} {number}" for name, number in packages.items()),
        processor=about["environment"]["processor"],
    )


def _of(c: Counts) -> tuple[str, str]:
    return studies.title(c.cell), f"{c.studies:,}"


def _percents(*shares: float | None) -> tuple[str, ...]:
    return tuple("" if share is None else f"{100 * share:.1f}" for share in shares)


def _table(head: str, rows: Iterable[tuple[str, ...]]) -> str:
    names = head.split("|")
    return "\n".join(f"| {' | '.join(row)} |" for row in (names, ["---"] * len(names), *rows))


if __name__ == "__main__":
    main()
