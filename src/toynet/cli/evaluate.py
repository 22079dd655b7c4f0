"""`toynet evaluate`"""

from typing import Annotated, Literal

import typer

from toynet.cli import options
from toynet.core.reporter import times
from toynet.core.wording import nats

EXAMPLE = "Example:  toynet evaluate my-run --split val"


def evaluate(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="A run's name or folder; with --weights also a recipe."),
    ],
    split: Annotated[
        Literal["val", "test"], typer.Option(help="Which images; every read of test is written down.")
    ] = "val",
    checkpoint: Annotated[
        Literal["last", "best"], typer.Option(help="best: the highest validation accuracy.")
    ] = "last",
    weights: options.Weights = None,
    data: options.Data = None,
    set_: options.Set = None,
    data_root: options.DataRoot = None,
    json: options.Json = False,
) -> None:
    """Score a run's model, or weights of Keras: accuracy, loss, calibration, and every class."""
    changes = options.overrides(set_) | ({} if data is None else {"data.name": data})
    import toynet
    from toynet.cli.progress import TerminalReporter

    with TerminalReporter() as reporter:
        found = toynet.evaluate(
            run,
            split,
            which=checkpoint,
            weights=weights,
            overrides=changes,
            data_root=data_root,
            reporter=reporter,
        )
    if json:
        from json import dumps

        print(
            dumps(
                {
                    "split": found.split,
                    "scores": found.scores.model_dump(),
                    "per_class": [row.model_dump() for row in found.per_class],
                    "test_reads": found.test_reads,
                },
                indent=2,
            )
        )
        return
    scores = found.scores
    print(f"{split}: {scores.n:,} images")
    print(f"accuracy           {100 * scores.accuracy:.2f} %")
    if scores.top5_accuracy is not None:
        print(f"top-5 accuracy     {100 * scores.top5_accuracy:.2f} %")
    print(f"balanced accuracy  {100 * scores.balanced_accuracy:.2f} %")
    print(f"macro F1           {scores.macro_f1:.4f}")
    print(f"loss               {nats(scores.loss)}")
    print(f"calibration error  {scores.ece:.4f}")
    width = max(5, *(len(row.name) for row in found.per_class))
    print(f"\n{'class':<{width}}       n  precision  recall      F1  most often taken for")
    for row in found.per_class:
        rival = f"{row.mistaken_for} ({100 * row.mistaken_share:.1f} %)" if row.mistaken_for else "-"
        cells = f"{_percent(row.precision):>9}  {_percent(row.recall):>6}  {_percent(row.f1):>6}"
        print(f"{row.name:<{width}}  {row.n:>6}  {cells}  {rival}")
    if found.test_reads is not None:
        print(f"\nthese test images have now been read {times(found.test_reads)} from here")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"
