"""`toynet recipes`"""

from typing import Annotated

import typer

app = typer.Typer(
    help="The shipped recipes.",
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog="Example:  toynet recipes show default",
)


@app.command("list", epilog="Example:  toynet recipes list")
def list_recipes() -> None:
    """Every shipped recipe and what it is for."""
    import shutil
    import sys
    import textwrap

    from toynet.api.trainable import recipes

    names = recipes()
    width = max(len(name) for name in names) + 2
    for name, what in names.items():
        line = f"{name:<{width}}{what}"
        if sys.stdout.isatty():
            columns = max(shutil.get_terminal_size().columns, width + 30)
            line = textwrap.fill(line, columns, subsequent_indent=" " * width)
        print(line)


@app.command(epilog="Example:  toynet recipes show report/toynet14_with_dropout")
def show(
    name: Annotated[str, typer.Argument(help="A recipe's name or TOML file.")],
    resolved: Annotated[bool, typer.Option("--resolved", help="Every setting, bases merged in.")] = False,
) -> None:
    """A recipe's file, or with --resolved all that it amounts to."""
    from toynet.runs.recipe import Recipe, source

    recipe = Recipe.load(name)
    print((recipe.to_toml() if resolved else source(name)).rstrip())
