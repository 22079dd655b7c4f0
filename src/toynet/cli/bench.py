"""`toynet bench`"""

from typing import TYPE_CHECKING, Annotated

import typer

from toynet.cli import options

if TYPE_CHECKING:
    from toynet.speed.records import BenchResult

EXAMPLE = "Example:  toynet bench default --set train.batch_size=500 --json"


def bench(
    recipe: Annotated[
        str, typer.Argument(help="A recipe's name (toynet recipes list) or a TOML file.")
    ] = "default",
    data: options.Data = None,
    set_: options.Set = None,
    threads: options.Threads = None,
    seconds: Annotated[float, typer.Option(help="How long each part is measured.")] = 5.0,
    remember: Annotated[
        bool | None,
        typer.Option(
            "--remember/--no-remember",
            help="Keep the fastest set-up for train; by default unless other work keeps the cores busy.",
            show_default=False,
        ),
    ] = None,
    data_root: options.DataRoot = None,
    json: options.Json = False,
) -> None:
    """Measure this machine's limit, a recipe's rate against it, and where a step's time goes."""
    changes = options.overrides(set_)
    import toynet
    from toynet.cli.progress import TerminalReporter

    with TerminalReporter() as reporter:
        found = toynet.bench(
            recipe,
            data=data,
            overrides=changes,
            threads=threads,
            seconds=seconds,
            remember=remember,
            data_root=data_root,
            reporter=reporter,
        )
    if json:
        print(found.model_dump_json(indent=2))
        return
    _print_what(found)
    _print_setups(found)
    _print_step(found)
    _print_limits(found)
    _print_achieved(found)
    for line in found.advice:
        print(f"\n{line}")


def _print_what(found: "BenchResult") -> None:
    shape = "x".join(str(side) for side in found.image_shape)
    widths = ",".join(str(width) for width in found.widths)
    about = found.environment
    print(f"recipe     {found.recipe}: {found.model} [{widths}]")
    print(f"an image   {shape}, {found.macs / 1e6:,.1f} million multiply-accumulates forward")
    print(f"machine    {about['processor']}, {about['cores']} cores, torch {about['packages']['torch']}")
    print(f"set-up     {found.chosen.setup}")
    print(f"           {'kept for toynet train' if found.chosen.remembered else 'not kept for toynet train'}")


def _print_setups(found: "BenchResult") -> None:
    batch = found.training.micro_batch or found.training.batch_size
    print(f"\n{f'forward and backward, {batch} images':<52}        ms")
    for timing in found.chosen.timings:
        print(f"{timing.setup!s:<52}  {timing.seconds * 1e3:>8,.1f}")
    if found.micro_batches:
        batch = found.training.batch_size
        print(f"\n{f'a batch of {batch} in pieces of':<52}        ms")
        for size in found.micro_batches:
            print(f"{size.images:<52}  {size.ms:>8,.1f}")


def _print_step(found: "BenchResult") -> None:
    step = found.training
    print(f"\n{f'a training step, {step.steps} times':<24}        ms   quartiles            share")
    for part in step.parts:
        quartiles = f"{part.ms.lower:,.2f} to {part.ms.upper:,.2f}"
        print(f"{part.name:<24}  {part.ms.median:>8,.2f}   {quartiles:<18} {100 * part.share:>5.1f} %")
    quartiles = f"{step.step_ms.lower:,.2f} to {step.step_ms.upper:,.2f}"
    print(f"{'in all':<24}  {step.step_ms.median:>8,.2f}   {quartiles}")
    print(f"memory     {step.peak_resident_mib:,.0f} MiB at most")


def _print_limits(found: "BenchResult") -> None:
    limits = found.limits
    print(f"\n{'GFLOP/s':<30}      fp32      bf16")
    for rate in limits.rates:
        print(f"{rate.what:<30}  {_cell(rate.fp32_gflops)}  {_cell(rate.bf16_gflops)}")
    print(f"{'the limit':<30}  {_cell(limits.fp32_gflops)}  {_cell(limits.bf16_gflops)}")


def _cell(gflops: float | None) -> str:
    return f"{'-':>8}" if gflops is None else f"{gflops:>8,.0f}"


def _print_achieved(found: "BenchResult") -> None:
    images = {
        "training step": found.training.images_per_s.median,
        "evaluation": found.inference.images_per_s.median,
    }
    print(f"\n{'achieved':<30}   GFLOP/s  of {found.chosen.setup.precision} limit  images/s")
    for row in found.achieved:
        rate = f"{images[row.what]:>8,.0f}" if row.what in images else ""
        print(f"{row.what:<30}  {row.gflops:>8,.0f}  {100 * row.of_limit:>11.1f} %  {rate}".rstrip())
