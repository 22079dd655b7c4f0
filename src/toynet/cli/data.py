"""`toynet data`"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toynet.cli import options

if TYPE_CHECKING:
    from toynet.api.data import DataInfo

_SHOWN_DUPLICATES = 5

app = typer.Typer(
    help="Bring, describe and look at data sets.",
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog="Example:  toynet data info glyphs",
)


@app.command(epilog="Example:  toynet data fetch cifar10 --from ~/Downloads/cifar-10-binary.tar.gz")
def fetch(
    name: Annotated[str, typer.Argument(help="cifar10 or cifar100.")],
    source: Annotated[
        str | None,
        typer.Option("--from", help="A file or address to take the archive from.", show_default=False),
    ] = None,
    data_root: options.DataRoot = None,
) -> None:
    """Download a data set, or take it from a file; resumes, and checks the sha256 before unpacking."""
    import toynet
    from toynet.cli.progress import TerminalReporter

    with TerminalReporter() as reporter:
        folder = toynet.fetch(name, source, data_root=data_root, reporter=reporter)
    print(f"{name} is in {folder}")


@app.command(epilog="Example:  toynet data info glyphs")
def info(
    name: Annotated[str, typer.Argument(help="cifar10, cifar100, glyphs[:COUNT], folder:PATH or npz:PATH.")],
    protocol: Annotated[
        str | None, typer.Option(help="standard, report or full.", show_default="standard")
    ] = None,
    set_: options.Set = None,
    data_root: options.DataRoot = None,
) -> None:
    """Sizes, classes and their balance, split, statistics, duplicates, and what identifies the images."""
    import toynet
    from toynet.cli.progress import TerminalReporter

    asked = options.overrides(set_) | ({} if protocol is None else {"data.protocol": protocol})
    with TerminalReporter() as reporter:
        about = toynet.info(name, overrides=asked, data_root=data_root, reporter=reporter)
    card = about.card
    height, width, channels = card.image_shape
    print(f"{card.name}: {height}x{width}, channels {channels}, classes {len(card.classes)}")
    validation = f"validation {card.val_images:,} (protocol {about.protocol})"
    print(f"train {card.train_images:,}   {validation}   test {card.test_images:,}")
    print(f"mean {_numbers(card.mean)}   std {_numbers(card.std)}   (0..255, training part)")
    longest = max(5, *(len(c) for c in card.classes))
    print(f"\n{'class':<{longest}}    train    test")
    for row in zip(card.classes, about.train_by_class, about.test_by_class, strict=True):
        print("{:<{width}}  {:>7,} {:>7,}".format(*row, width=longest))
    print(f"\nbalance: {about.balance}")
    for line in _duplicates(about):
        print(line)
    digests = {"train": card.train_digest, "test": card.test_digest, "split": card.split_digest}
    print("\nsha256 " + "  ".join(f"{part} {digest[:16]}" for part, digest in digests.items()))


@app.command(epilog="Example:  toynet data copies cifar10 -o copies.png")
def copies(
    name: Annotated[str, typer.Argument(help="cifar10, cifar100, glyphs[:COUNT], folder:PATH or npz:PATH.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A PNG of the pairs to write.", show_default=False),
    ] = None,
    least: Annotated[float, typer.Option(help="How alike a pair must be, from 0.5 to 1 (equal).")] = 0.85,
    set_: options.Set = None,
    data_root: options.DataRoot = None,
) -> None:
    """Test images that are in train too: equal, or shifted, cropped, mirrored, in other colours."""
    import toynet
    from toynet.cli.progress import TerminalReporter

    with TerminalReporter() as reporter:
        found = toynet.copies(
            name,
            output,
            least=least,
            overrides=options.overrides(set_),
            data_root=data_root,
            reporter=reporter,
        )
    counts = [sum(copy.part == part for copy in found) for part in ("test", "val")]
    other = sum(len(set(copy.classes)) > 1 for copy in found)
    print(
        f"{name}: images with their like in train (likeness {least:g} or more): test {counts[0]:,}, "
        f"val {counts[1]:,}; with another class {other:,}"
    )
    for copy in found:
        differ = "" if len(set(copy.classes)) == 1 else "  ({}, {})".format(*copy.classes)
        print(f"{copy.likeness:.3f}  {copy.image} = {copy.trained}{differ}")
    if output:
        print(f"wrote {output}" if found else f"{output} is not written: there are no pairs to show")


@app.command(epilog="Example:  toynet data preview --recipe report/base --data glyphs -o preview.png")
def preview(
    recipe: Annotated[str, typer.Option(help="Whose augmentation to show.")] = "report/toynet20_init",
    data: options.Data = None,
    index: Annotated[int, typer.Option(help="Which training image.")] = 0,
    output: Annotated[Path, typer.Option("--output", "-o", help="The PNG to write.")] = Path("preview.png"),
    set_: options.Set = None,
    data_root: options.DataRoot = None,
) -> None:
    """One image augmented many ways, before and after standardising, as a PNG."""
    import toynet
    from toynet.cli.progress import TerminalReporter

    with TerminalReporter() as reporter:
        path = toynet.preview(
            recipe,
            output,
            data=data,
            index=index,
            overrides=options.overrides(set_),
            data_root=data_root,
            reporter=reporter,
        )
    print(f"wrote {path}")


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:.1f}" for value in values)


def _duplicates(about: "DataInfo") -> Iterator[str]:
    """Cautions about images that are both trained on and judged by."""
    for part, count in about.judged.items():
        found = [copy for copy in about.duplicates if copy.part == part]
        if not found:
            yield f"duplicates: none of {count:,} {part} images is in train too"
            continue
        other = sum(len(set(copy.classes)) > 1 for copy in found)
        yield (
            f"caution: {len(found):,} of {count:,} {part} images are in train too, pixel for pixel "
            f"({other:,} with another class); scores on them say nothing about new images"
        )
        yield from (f"  {copy.image} = {copy.trained}" for copy in found[:_SHOWN_DUPLICATES])
        if len(found) > _SHOWN_DUPLICATES:
            yield "  ..."
