"""`toynet study`"""

from typing import Annotated

import typer

from toynet.cli import options

EXAMPLE = "Example:  toynet study quickstart --jobs 2, or toynet study quick --try optim.lr=1e-3"


def study(
    study: Annotated[
        str, typer.Argument(help="A shipped study's name or a TOML file; with --try, those of a recipe.")
    ],
    try_: Annotated[
        list[str] | None,
        typer.Option(
            "--try", metavar="KEY=VALUE", help="A setting to try on a recipe, without a file. Repeatable."
        ),
    ] = None,
    set_: options.Set = None,
    seeds: Annotated[
        str | None,
        typer.Option(metavar="N|auto|open-ended", help="Instead of the file's.", show_default=False),
    ] = None,
    vary_split: Annotated[
        bool | None,
        typer.Option(
            "--vary-split/--one-split",
            help="Set other images apart to validate on for each seed.",
            show_default="as in the file",
        ),
    ] = None,
    jobs: options.Jobs = None,
    engine: options.Engine = "local",
    address: options.Address = None,
    cpus_per_run: options.CpusPerRun = None,
    gpus_per_run: options.GpusPerRun = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the study's folder; else that of the study.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a study that has begun.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be run, how long, and what it can see.")
    ] = False,
    data: options.Data = None,
    data_root: options.DataRoot = None,
    json: options.Json = False,
) -> None:
    """Train variants beside a control with the same seeds, and say which of them help."""
    import toynet
    from toynet.cli.study_progress import StudyReporter
    from toynet.cli.verdicts import print_account

    tries, changes = options.tries(try_), options.overrides(set_)
    cluster = options.cluster(engine, address, cpus_per_run, gpus_per_run)
    with StudyReporter() as reporter:
        if dry_run:
            ahead = toynet.rehearse(
                study,
                tries=tries,
                overrides=changes,
                seeds=_seeds(seeds),
                vary_split=vary_split,
                jobs=jobs,
                cluster=cluster,
                name=name,
                data=data,
                data_root=data_root,
                audience=reporter,
            )
            if json:
                print(ahead.model_dump_json(indent=2))
            return
        found = toynet.study(
            study,
            tries=tries,
            overrides=changes,
            seeds=_seeds(seeds),
            vary_split=vary_split,
            jobs=jobs,
            cluster=cluster,
            name=name,
            resume=resume,
            data=data,
            data_root=data_root,
            audience=reporter,
        )
    assert found.path is not None
    print_account(found, toynet.report(found.path), json=json)


def _seeds(text: str | None) -> int | str | None:
    return int(text) if text and text.isdecimal() else text
