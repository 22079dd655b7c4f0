"""`toynet models`"""

from pathlib import Path
from typing import Annotated

import typer

from toynet.cli import options

app = typer.Typer(
    help="The architectures and their cost.",
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog="Example:  toynet models show toynet14",
)


@app.command("list", epilog="Example:  toynet models list")
def list_models() -> None:
    """Every architecture with the parameters and MACs of its default widths, for 32x32 colour images."""
    from toynet.api.trainable import architectures

    print(f"{'name':<16}  parameters   trainable    MMACs")
    for name, size in architectures().items():
        print(f"{name:<16}  {size.parameters:>10,}  {size.trainable:>10,}  {size.macs / 1e6:>7,.1f}")


@app.command(epilog="Example:  toynet models show toynet18 --set model.order=post --diagram net.svg")
def show(
    name: Annotated[str, typer.Argument(help="An architecture's name (toynet models list).")],
    set_: options.Set = None,
    classes: Annotated[int, typer.Option(min=2, max=100_000, help="Number of classes.")] = 10,
    size: Annotated[int, typer.Option(min=1, max=1024, help="Side of the images in pixels.")] = 32,
    channels: Annotated[int, typer.Option(min=1, max=3, help="Channels of the images.")] = 3,
    diagram: Annotated[
        Path | None, typer.Option(help="Draw stacks and blocks into this SVG.", show_default=False)
    ] = None,
) -> None:
    """An architecture layer by layer: output shapes, parameters, MACs."""
    from toynet.api.trainable import architecture

    total = architecture(
        name,
        overrides=options.overrides(set_),
        classes=classes,
        image_shape=(size, size, channels),
        diagram=diagram,
    )
    rows = [(layer.path, layer.kind, "x".join(map(str, layer.output_shape))) for layer in total.layers]
    path_width, kind_width, shape_width = (max(len(row[column]) for row in rows) for column in range(3))
    line = f"{{:<{path_width}}}  {{:<{kind_width}}}  {{:<{shape_width}}}  {{:>10}}  {{:>11}}"
    print(line.format("layer", "kind", "output", "parameters", "MACs"))
    for row, layer in zip(rows, total.layers, strict=True):
        print(line.format(*row, f"{layer.parameters:,}", f"{layer.macs:,}"))
    print(f"\nparameters {total.parameters:,}, of which trainable {total.trainable:,}")
    print(f"MACs       {total.macs:,} per image forward; about three times that to train on it")
    if diagram is not None:
        print(f"diagram    {diagram}")
