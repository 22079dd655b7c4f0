"""`toynet export`"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from toynet.cli import options

EXAMPLE = "Example:  toynet export my-run --format onnx -o model.onnx"


def export(
    run: options.RunName,
    format: Annotated[
        Literal["onnx", "torch", "keras"], typer.Option(help="torch: the weights as safetensors.")
    ] = "onnx",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Else the run's name, here.", show_default=False),
    ] = None,
    preprocessing: Annotated[
        Literal["inside", "beside"] | None,
        typer.Option(
            help="Mean and deviation inside the model, or as JSON beside it. Inside by default.",
            show_default=False,
        ),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="An 8-bit version too, scored and timed (ONNX).")
    ] = False,
    opset: Annotated[int | None, typer.Option(help="Of ONNX.", show_default=False)] = None,
    checkpoint: Annotated[
        Literal["last", "best"], typer.Option(help="best: the highest validation accuracy.")
    ] = "last",
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
    data_root: options.DataRoot = None,
    json: options.Json = False,
) -> None:
    """Write a run's model for others, checked against the original, with a model card."""
    import toynet
    from toynet.cli.progress import TerminalReporter

    with TerminalReporter() as reporter:
        found = toynet.export(
            run,
            format,
            output,
            preprocessing=preprocessing,
            int8=int8,
            opset=opset,
            which=checkpoint,
            force=force,
            data_root=data_root,
            reporter=reporter,
        )
    if json:
        print(found.model_dump_json(indent=2))
        return
    parity = found.parity
    print(f"logits       differ by {parity.max_difference:.2e} at most on {parity.images} {parity.source}")
    if found.accuracy is not None:
        print(f"accuracy     {100 * found.accuracy:.2f} % on {parity.source}, one view of each image")
    if found.int8 is not None:
        print(f"8-bit        {found.int8.verdict}")
    for file in found.files:
        print(f"written      {file}")
