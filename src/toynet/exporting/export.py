"""From a finished run to checked files that others can use."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toynet.core.errors import ToyNetError, UsageError
from toynet.core.files import sync_folder, write_atomic, write_json
from toynet.core.reporter import Reporter
from toynet.exporting import keras_file, onnx_file, parity, torch_file
from toynet.exporting import preprocessing as steps
from toynet.exporting.card import write_card
from toynet.exporting.folding import fold
from toynet.exporting.origin import Origin
from toynet.exporting.quantise import quantise
from toynet.exporting.records import Export, Format, Int8, Preprocessing

SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torch": torch_file.SUFFIX, "keras": ".keras"}
LIMITS: dict[Format, float] = {"onnx": 1e-3, "torch": 1e-4, "keras": 1e-4}
"""The largest difference of a logit from the original's. A torch file holds the very same weights."""


def target_of(output: Path | None, run: str, format: Format) -> Path:
    """Where the model goes: `output`, a file or a folder that exists, else the run's name here.

    Raises `UsageError` for a name that does not end as the format's files do.
    """
    suffix = SUFFIXES[format]
    if output is None or output.is_dir():
        return (output or Path()) / f"{run}{suffix}"
    if output.suffix != suffix:
        raise UsageError(f"{output}: a file of format {format} ends in {suffix}")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"{output}: the folder {output.parent} does not exist")
    return output


def check_request(
    format: Format, preprocessing: Preprocessing | None, *, int8: bool, opset: int | None
) -> None:
    """Raise `UsageError` for options that the format does not have."""
    if format != "onnx" and (int8 or opset is not None):
        raise UsageError(f"{'--int8' if int8 else '--opset'} is for --format onnx, not {format}")
    if format == "torch" and preprocessing is not None:
        raise UsageError("--preprocessing: a torch file holds weights only; leave it out")
    if format == "onnx":
        onnx_file.check_opset(opset)


def write_export(
    origin: Origin,
    target: Path,
    format: Format,
    *,
    preprocessing: Preprocessing,
    int8: bool,
    opset: int | None,
    force: bool,
    reporter: Reporter,
) -> Export:
    """Write the model of `origin` to `target`, with its card and what else belongs beside it.

    Everything is made and checked under another name first; a failure leaves nothing behind. Raises
    `UsageError` for a file that is there already, unless `force`; `ToyNetError` for a model that answers
    differently from the original.
    """
    beside = preprocessing == "beside" and format != "torch"
    quantised = target.with_suffix(".int8.onnx") if int8 else None
    table = Path(f"{target}.preprocessing.json") if beside else None
    card = Path(f"{target}.md")
    files = [file for file in (target, quantised, table, card) if file]
    stale = _companions(target, format) - set(files) if target.exists() else set()
    for file in files:
        if file.exists() and not force:
            raise UsageError(f"{file} exists; choose another -o, or overwrite it by --force")
    with _building(target) as room:
        made = room / target.name
        folded = fold(origin.model)
        whole: Preprocessing = "beside" if beside else "inside"
        reporter.note(f"writing {target.name}")
        if format == "onnx":
            number = onnx_file.check_opset(opset)
            onnx_file.write(made, folded.model, origin, preprocessing=whole, opset=number)
            answer = onnx_file.read(made, origin, whole)
        elif format == "keras":
            keras_file.write(made, origin, whole)
            answer = keras_file.read(made, origin, whole)
        else:
            torch_file.write(made, origin)
            answer = torch_file.read(made, origin)
        reporter.note(f"comparing logits on {origin.probe.source}")
        agreement = parity.check(origin, answer, limit=LIMITS[format])
        found: Int8 | None = None
        if quantised:
            found = quantise(made, room / quantised.name, origin, whole, reporter)
        export = Export(
            run=origin.name,
            format=format,
            files=tuple(str(file) for file in files),
            bytes=made.stat().st_size,
            preprocessing=None if format == "torch" else whole,
            opset=onnx_file.check_opset(opset) if format == "onnx" else None,
            folded_norms=folded.folded if format == "onnx" else None,
            kept_norms=folded.kept if format == "onnx" else None,
            temperature=origin.temperature,
            parity=agreement,
            accuracy=found.float32_accuracy if found else parity.accuracy(origin, answer),
            int8=found,
        )
        if table:
            write_json(room / table.name, steps.table(origin))
        write_atomic(room / card.name, write_card(origin, export, target.name))
        # The model last: with it, the export is there.
        for file in reversed(files):
            os.replace(room / file.name, file)
    for file in stale:
        file.unlink(missing_ok=True)
    sync_folder(target.absolute().parent)
    return export


def _companions(target: Path, format: Format) -> set[Path]:
    """What an export of this format may have left beside `target`."""
    quantised = {target.with_suffix(".int8.onnx")} if format == "onnx" else set()
    table = {Path(f"{target}.preprocessing.json")} if format != "torch" else set()
    return quantised | table


@contextmanager
def _building(target: Path) -> Iterator[Path]:
    """A folder beside `target`, gone at the end however that comes."""
    try:
        room = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.absolute().parent))
    except OSError as error:
        raise ToyNetError(f"cannot write beside {target}: {error.strerror}") from error
    try:
        yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)
