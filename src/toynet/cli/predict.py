"""`toynet predict`"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from toynet.api.pictures import Answer

EXAMPLE = "Example:  toynet predict my-run cat.jpg pictures/ --explain heat/"


def predict(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="A run's name or folder, or an exported .safetensors file."),
    ],
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE...", help="Files, folders of images, or - for standard input."),
    ],
    top: Annotated[int, typer.Option(min=1, help="How many classes to tell, the most probable first.")] = 3,
    explain: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write each picture with a heat map of what spoke for its class."),
    ] = None,
    checkpoint: Annotated[
        Literal["last", "best"], typer.Option(help="best: the highest validation accuracy.")
    ] = "last",
    json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each image.")] = False,
) -> None:
    """Classify pictures with a run's model."""
    import toynet
    from toynet.cli.progress import TerminalReporter

    failed, margin = 0, 0
    with TerminalReporter() as reporter:
        for answer in toynet.predict(
            run, images, top=top, explain=explain, which=checkpoint, reporter=reporter
        ):
            failed += answer.error is not None
            if json:
                print(_line(answer))
            elif answer.error:
                reporter.note(f"{answer.source}: {answer.error}")
            else:
                margin = max(margin, len(answer.source))  # of those so far: no name is waited for
                told = "  ".join(f"{label} {100 * p:.1f} %" for label, p in answer.top)
                print(f"{answer.source:<{margin}}  {told}")
    if failed:
        raise typer.Exit(1)


def _line(answer: "Answer") -> str:
    from json import dumps

    return dumps(
        {
            "source": answer.source,
            "top": [{"class": label, "probability": probability} for label, probability in answer.top],
            "explanation": str(answer.explanation) if answer.explanation else None,
            "error": answer.error,
        }
    )
