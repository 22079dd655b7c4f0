"""The page of tables that is written from the records."""

import statistics
from typing import Any

import machine

Entry = dict[str, Any]

HEADING = """# ToyNet beside its peers

Written by `make bench-peers` (benchmarks/peers/run.py); the records lie beside this file, one for each job.

Every contestant trains the same network (parameters are counted and must agree) on the same 6,400 random
images in memory, with Adam, cross-entropy and accuracy, in a process of its own. In each round all are
measured in turn, for a few seconds each, while the others are stopped. Building, compiling and the first step
are not in the rates. The peers get standardised float32 images and no augmentation; ToyNet starts from bytes
and runs the loop of `toynet train`. `default` is what a library does when nothing is changed: Keras then
compiles on JAX, does not on torch, and on TensorFlow leaves XLA off where there is no GPU.

Images/s are medians over the rounds, with the lowest and highest. Ratios are formed within a round: how many
images ToyNet's default trains on for one of theirs. Cores: processor time in each second.
"""

COLUMNS = (
    "contestant",
    "setting",
    "images/s",
    "lowest to highest",
    "ToyNet's default to it",
    "cores",
    "peak MiB",
    "until first step, s",
)


def page(records: list[dict[str, Any]]) -> str:
    """Markdown: a heading, and a section for each job's record as `run.contest` makes it."""
    return "\n".join([HEADING, *(_section(record) for record in records)])


def _section(record: dict[str, Any]) -> str:
    ours = next((e for e in record["contestants"] if _is_ours(e) and e["default"]), None)
    rows = [COLUMNS, ("---",) * len(COLUMNS), *(_row(entry, ours) for entry in record["contestants"])]
    lines = [
        f"## {record['title']}",
        "",
        *_verdict(record["contestants"], ours),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
        *_circumstances(record),
    ]
    return "\n".join(lines) + "\n"


def _row(entry: Entry, ours: Entry | None) -> tuple[str, ...]:
    setting = entry["setting"] + (f" ({entry['detail']})" if entry.get("detail") else "")
    if "not_run" in entry:
        return entry["library"], setting, f"not run: {entry['not_run']}", "", "", "", "", ""
    rates = _rates(entry)
    cores = statistics.median(r["processor_s"] / r["seconds"] for r in entry["rounds"])
    return (
        entry["library"],
        setting,
        f"{statistics.median(rates):,.0f}",
        f"{min(rates):,.0f} to {max(rates):,.0f}",
        f"{_ratio(ours, entry):.2f}" if _ran(ours) else "",
        f"{cores:.1f}",
        f"{max(r['peak_mib'] for r in entry['rounds']):,}",
        f"{entry['build_s'] + entry['first_step_s']:.0f}",
    )


def _verdict(entries: list[Entry], ours: Entry | None) -> list[str]:
    """ToyNet's default against the best peer's default, and against the fastest peer of all."""
    peers = [entry for entry in entries if not _is_ours(entry) and _ran(entry)]
    defaults = [entry for entry in peers if entry["default"]]
    if not _ran(ours) or not defaults:
        return []
    sentences = []
    for among, what in (
        (defaults, "the fastest peer by default"),
        (peers, "the fastest setting of any peer"),
    ):
        best = max(among, key=lambda entry: statistics.median(_rates(entry)))
        name = f"{best['library']}, {best['setting']}"
        sentences.append(f"Against {what} ({name}): **{_ratio(ours, best):.2f}**.")
    return [" ".join(sentences), ""]


def _circumstances(record: dict[str, Any]) -> list[str]:
    """Machine, versions, commit, and a warning where the machine was not idle."""
    about, product = record["environment"], record["matrix_product_gflops"]
    entries = record["contestants"]
    versions = {"Python": about["python"]}
    for entry in entries:
        versions |= entry.get("versions", {})
    busiest = max((r["other_work_cores"] or 0 for entry in entries for r in entry["rounds"]), default=0)
    sentences = [
        f"`{record['command']}`, {record['date']}, commit {record['commit']}.",
        f"{about['processor']} ({', '.join(about['flags'])}), {record['threads']} of {about['cores']} cores,",
        f"{about['memory_gib']} GiB, {about['system']};",
        ", ".join(f"{name} {number}" for name, number in sorted(versions.items())) + ".",
        "Matrix product before and after, GFLOP/s:",
        "; ".join(f"{kind} {rate:,}, {product['after'][kind]:,}" for kind, rate in product["before"].items())
        + ".",
        f"Windows of {record['window_s']:g} s; {record['elapsed_s'] / 60:.0f} minutes in all.",
    ]
    lines = [" ".join(sentences)]
    if busiest > machine.QUIET_CORES:
        lines += [
            "",
            f"**Other work kept up to {busiest} cores busy meanwhile: do not rely on these figures.**",
        ]
    return lines


def _ratio(ours: Entry | None, entry: Entry) -> float:
    """Median over the rounds of ToyNet's default rate to the entry's."""
    assert ours is not None
    return statistics.median(a / b for a, b in zip(_rates(ours), _rates(entry), strict=True))


def _rates(entry: Entry) -> list[float]:
    """Images per second of each round."""
    return [r["images"] / r["seconds"] for r in entry["rounds"]]


def _ran(entry: Entry | None) -> bool:
    return entry is not None and "not_run" not in entry


def _is_ours(entry: Entry) -> bool:
    return bool(entry["library"] == "ToyNet")
