"""The `toynet` command. It imports a verb's machinery only when the verb runs, so that help is instant."""

import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import NoReturn

import typer

from toynet.cli import (
    bench,
    compare,
    data,
    diagnose,
    evaluate,
    export,
    final,
    models,
    predict,
    recipes,
    report,
    serve,
    study,
    train,
)
from toynet.core.environment import place_among_ranks
from toynet.core.errors import ToyNetError, UsageError, did_you_mean

app = typer.Typer(
    name="toynet",
    help="Train convolutional image classifiers, read their curves, and tell whether a change helped.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="First run, no download needed:  toynet train quick",
)
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")
app.add_typer(recipes.app, name="recipes")
app.command(epilog=train.EXAMPLE)(train.train)
app.command(epilog=evaluate.EXAMPLE)(evaluate.evaluate)
app.command(epilog=predict.EXAMPLE)(predict.predict)
app.command(epilog=export.EXAMPLE)(export.export)
app.command(epilog=diagnose.EXAMPLE)(diagnose.diagnose)
app.command(epilog=bench.EXAMPLE)(bench.bench)
app.command(epilog=study.EXAMPLE)(study.study)
app.command(epilog=final.EXAMPLE)(final.final)
app.command(epilog=compare.EXAMPLE)(compare.compare)
app.command(epilog=report.EXAMPLE)(report.report)
app.command(epilog=serve.EXAMPLE)(serve.serve)

# Every wrong command line raises a kind of this; Typer exports only the child.
_WrongCommandLine: type[Exception] = typer.BadParameter.__bases__[0]


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"toynet {version('toynet-lab')}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
) -> None:
    """Train convolutional image classifiers, read their curves, and tell whether a change helped."""


def main() -> NoReturn:
    """Run the command line and leave with its exit code: 0, 1 failure, 2 usage, 128 + signal."""
    arguments = sys.argv[1:]
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    command = typer.main.get_command(app)
    try:
        _refuse_ranks(arguments)
        code = command.main(arguments, "toynet", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except ToyNetError as error:
        code = _fail(str(error), error.exit_code, debug)
    except _WrongCommandLine as error:
        code = _refuse(error, arguments, debug)
    except (KeyboardInterrupt, typer.Abort):
        code = _fail("stopped; what had begun goes on with --resume", 130, debug)
    except OSError as error:
        code = _fail(f"{error.filename or 'output'}: {error.strerror or error}", 1, debug)
    except Exception as error:
        code = _fail(f"unexpected {type(error).__name__}: {error} (--debug shows where)", 1, debug)
    _leave(code if isinstance(code, int) else 0)


def _leave(code: int) -> NoReturn:
    """Exit; at once after a signal and as a rank that failed, for taking torch apart may take a second."""
    if code > 128 or (code and place_among_ranks()[1] > 1):
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, AttributeError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)


def _refuse_ranks(arguments: list[str]) -> None:
    """Only one verb is shared by the processes of `torchrun`; others would do all several times."""
    verb = next((argument for argument in arguments if not argument.startswith("-")), "train")
    if place_among_ranks()[1] > 1 and verb != "train":
        raise UsageError(f"torchrun is for toynet train; start toynet {verb} without it")


def _refuse(error: Exception, arguments: list[str], debug: bool) -> int:
    """Answer a wrong command line; one that is only unfinished gets the help."""
    if type(error).__name__ == "NoArgsIsHelpError":
        print(error, file=sys.stderr)
        return 2
    return _fail(_usage(error, arguments), 2, debug)


def _fail(message: str, code: int, debug: bool) -> int:
    if place_among_ranks()[1] > 1:
        from toynet.training.distributed import has_the_last_word

        if not has_the_last_word(message, code):
            return code
    if debug:
        import traceback

        traceback.print_exc()
    line = " ".join(message.split())
    with suppress(OSError):  # where nobody can be told, the exit code still tells
        print(f"error: {line}", file=sys.stderr)
    return code


def _usage(error: BaseException, arguments: list[str]) -> str:
    """Typer's message with the nearest verb or option, and where to read on."""
    message = str(getattr(error, "format_message", lambda: str(error))()).replace("Value error, ", "")
    if message.startswith("No such command"):
        verbs = [command.name or command.callback.__name__ for command in app.registered_commands]  # type: ignore[union-attr]
        verbs += [group.name for group in app.registered_groups if group.name]
        if arguments and arguments[0] not in verbs:
            return f"there is no verb {arguments[0]}; {did_you_mean(arguments[0], verbs)}"
    return message or "the command is not complete; add --help to see what it takes"
