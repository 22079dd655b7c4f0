"""`toynet study`"""

from typing import TYPE_CHECKING, Annotated

import typer

from toynet.cli import options

if TYPE_CHECKING:
    from toynet.studies.folder import Account

EXAMPLE = "Example:  toynet study quickstart --jobs 2"


def study(
    study: Annotated[str, typer.Argument(help="A shipped study's name, or a TOML file.")],
    seeds: Annotated[
        str | None,
        typer.Option(metavar="N|auto|open-ended", help="Instead of the file's.", show_default=False),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="Runs at once; one for each core by default.", show_default=False),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the study's folder; else that of the study.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a study that has begun.")] = False,
    data: options.Data = None,
    data_root: options.DataRoot = None,
    json: options.Json = False,
) -> None:
    """Train variants beside a control with the same seeds, and say which of them help."""
    from toynet import api
    from toynet.cli.study_progress import StudyReporter

    with StudyReporter() as reporter:
        found = api.study(
            study,
            seeds=_seeds(seeds),
            jobs=jobs,
            name=name,
            resume=resume,
            data=data,
            data_root=data_root,
            audience=reporter,
        )
    if json:
        print(found.findings.model_dump_json(indent=2))
        return
    _print(found)


def _seeds(text: str | None) -> int | str | None:
    return int(text) if text and text.isdecimal() else text


def _print(found: "Account") -> None:
    plan, findings = found.plan, found.findings
    print(f"\n{plan.spec.question}")
    width = max(len(arm.name) for arm in plan.arms)
    withheld = {one.arm: one.reason for one in findings.withheld}
    for arm in plan.arms[1:]:
        contrast = findings.contrast(arm.name)
        if contrast is not None:
            print(f"{arm.name:<{width}}  {contrast.sentence}  {contrast.words}")
        else:
            print(f"{arm.name:<{width}}  no verdict: {withheld.get(arm.name, 'too few runs finished')}")
    for caution in findings.all_cautions():
        print(f"note: {caution.text}")
