"""`toynet train`"""

from typing import Annotated

import typer

from toynet.cli import options
from toynet.core.wording import counted, duration, nats

EXAMPLE = "Example:  toynet train default --data cifar10 --seed 1 --set model.dropout=0.5"


def train(
    recipe: Annotated[str, typer.Argument(help="A recipe's name (toynet recipes list) or a TOML file.")],
    data: options.Data = None,
    seed: Annotated[
        int | None, typer.Option(help="Of weights, order, augmentation, dropout.", show_default=False)
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the run; else made from recipe, seed and time.")
    ] = None,
    set_: options.Set = None,
    weights: options.Weights = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an unfinished run: --name, or this recipe's newest.")
    ] = False,
    allow_inexact: Annotated[
        bool,
        typer.Option(
            "--allow-inexact",
            help="With --resume: go on although settings changed or state is missing; the run keeps a note.",
        ),
    ] = False,
    threads: options.Threads = None,
    data_root: options.DataRoot = None,
    json: options.Json = False,
) -> None:
    """Train a recipe into a run folder, evaluate it, and draw its curves."""
    changes = options.overrides(set_)
    import toynet
    from toynet.cli.progress import TerminalReporter

    with TerminalReporter() as reporter:
        run = toynet.train(
            recipe,
            data=data,
            seed=seed,
            name=name,
            overrides=changes,
            resume=resume,
            allow_inexact=allow_inexact,
            threads=threads,
            weights=weights,
            data_root=data_root,
            reporter=reporter,
        )
    if run.result is None:
        return
    if json:
        print(run.result.model_dump_json(indent=2))
        return
    result = run.result
    if result.test_accuracy is not None and result.test_loss is not None:
        print(f"test accuracy  {100 * result.test_accuracy:.2f} %   loss {nats(result.test_loss)}")
    if result.val_accuracy is not None and result.val_loss is not None:
        print(f"validation     {100 * result.val_accuracy:.2f} %   loss {nats(result.val_loss)}")
    if result.reason:
        print(f"{result.status.replace('_', ' ')}  {result.reason}")
    print(
        f"training       {result.epochs} of {counted(result.planned_epochs, 'epoch')} "
        f"in {duration(result.train_s)}, {result.images_per_s:,.0f} images/s, {result.precision}, "
        f"{counted(result.threads, 'thread')}"
    )
    if not result.exact:
        print(f"not exact      {run.path / 'inexact.jsonl'} says why")
    print(f"run            {run.path}")
    print(f"look at        {run.folder.figures / 'curves.png'}, gallery.png and confusion.png beside it")
    print(f"next           toynet diagnose {run.name}")
