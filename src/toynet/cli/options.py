"""Options that several verbs share."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from toynet.studies.cluster import Cluster

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, such as optim.lr=5e-4. Repeatable."),
]
Data = Annotated[
    str | None,
    typer.Option(
        help="cifar10, cifar100, glyphs[:COUNT] (built in), folder:PATH or npz:PATH.", show_default=False
    ),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(help="Where data sets lie; else $TOYNET_DATA, else the user cache.", show_default=False),
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1024,
        help="Processor threads; else $OMP_NUM_THREADS, what bench found fastest, or torch's own number.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Weights = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Weights that Keras saved (.h5, .keras).", show_default=False),
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's name, or the path of its folder.")]

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="A study's name, or the path of its folder.")]
Jobs = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=1024,
        help="Runs at once; by default one for each core, fewer where a GPU is short of memory.",
        show_default=False,
    ),
]

Engine = Annotated[
    Literal["local", "ray"],
    typer.Option(help="Who makes the runs: processes here, or a Ray cluster (docs/cluster.md)."),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT|auto",
        help="Of the Ray cluster; else $RAY_ADDRESS, else Ray is started here.",
        show_default=False,
    ),
]
CpusPerRun = Annotated[
    int | None,
    typer.Option(min=1, max=1024, help="Ray: threads of each run, 1 by default.", show_default=False),
]
GpusPerRun = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=64,
        help="Ray: GPUs of each run; 1 by default where this machine has one.",
        show_default=False,
    ),
]

Page = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE.html",
        help="Write a page, with FILE.md beside it.",
        show_default=False,
    ),
]


def overrides(pairs: list[str] | None) -> dict[str, Any]:
    """What `--set` gives, the last value of each key; a text without `=` is a usage error."""
    return dict(_settings("--set", pairs))


def tries(pairs: list[str] | None) -> dict[str, Any]:
    """What `--try` gives. A key with two values is a usage error: one of them would not be tried."""
    from toynet.core.errors import UsageError

    found: dict[str, Any] = {}
    for key, value in _settings("--try", pairs):
        if key in found:
            raise UsageError(f"--try {key}: one value of a setting; write a study's file for several")
        found[key] = value
    return found


def _settings(option: str, pairs: list[str] | None) -> "Iterator[tuple[str, Any]]":
    from toynet.core.errors import UsageError
    from toynet.runs.recipe import parse_value

    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"{option} {pair}: write it as key=value, such as {option} optim.lr=5e-4")
        yield key.strip(), parse_value(value.strip())


def cluster(
    engine: str, address: str | None, cpus_per_run: int | None, gpus_per_run: float | None
) -> "Cluster | None":
    """Where a study's runs are made; none for this machine's own processes."""
    from toynet.core.errors import UsageError
    from toynet.studies.cluster import Cluster

    if engine == "ray":
        return Cluster(
            address=address,
            cpus_per_run=cpus_per_run,
            gpus_per_run=gpus_per_run,
            show_logs="--debug" in sys.argv,
        )
    given = {"--address": address, "--cpus-per-run": cpus_per_run, "--gpus-per-run": gpus_per_run}
    for option, value in given.items():
        if value is not None:
            raise UsageError(f"{option} is for --engine ray; add that, or leave it out")
    return None
