"""`toynet final`"""

from typing import Annotated

import typer

from toynet.cli import options

EXAMPLE = "Example:  toynet final quickstart --variant rotation"


def final(
    study: options.StudyName,
    variant: Annotated[str, typer.Option(help="The one arm to make a claim about.")],
    seeds: Annotated[
        int | None,
        typer.Option(min=2, max=1000, help="Fresh ones; by default as in the study.", show_default=False),
    ] = None,
    jobs: options.Jobs = None,
    engine: options.Engine = "local",
    address: options.Address = None,
    cpus_per_run: options.CpusPerRun = None,
    gpus_per_run: options.GpusPerRun = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a claim that has begun.")] = False,
    data_root: options.DataRoot = None,
    json: options.Json = False,
) -> None:
    """Train a study's chosen variant and its control on fresh seeds, and score both on the test images."""
    import toynet
    from toynet.cli.study_progress import StudyReporter
    from toynet.cli.verdicts import print_account

    cluster = options.cluster(engine, address, cpus_per_run, gpus_per_run)
    with StudyReporter() as reporter:
        found = toynet.final(
            study,
            variant,
            seeds=seeds,
            jobs=jobs,
            cluster=cluster,
            resume=resume,
            data_root=data_root,
            audience=reporter,
        )
    assert found.path is not None
    print_account(found, toynet.report(found.path), json=json)
