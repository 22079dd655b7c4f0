"""The verbs about pictures: load a trained model, classify files with it, show where it looked."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from toynet.api.run import Run, open_run
from toynet.core.errors import DataError, ToyNetError, UsageError
from toynet.core.files import write_atomic_with
from toynet.core.reporter import Reporter, Silent
from toynet.data.pictures import PictureFile, find_pictures
from toynet.data.pixels import read_pixels
from toynet.exporting import torch_file
from toynet.runs import trained
from toynet.runs.classifier import Classifier, Guess, Prediction, load_classifier

_BATCH = 256
_SHOWN_PX = 256
_LARGE_BYTES = 2**15
"""Of a file, from which on a thread reads it."""

_Read = NDArray[np.uint8] | DataError
"""A picture's pixels, or why there are none."""


@dataclass(frozen=True)
class Answer:
    """What a model says of one source: its most probable classes, or the `error` that kept it from any."""

    source: str
    top: tuple[Guess, ...] = ()
    explanation: Path | None = None
    """The picture with its heat map, where one was asked for."""

    error: str | None = None


def load(run: str | Path | Run, *, which: trained.Which = "last", root: Path | None = None) -> Classifier:
    """A run's model, ready to classify files, Pillow images and arrays; or that in an exported file.

    A path that ends in `.safetensors` is such a file (`export` with format `torch`). Raises `ToyNetError` and
    its kinds.
    """
    trained.check(which)
    if not isinstance(run, Run) and Path(run).suffix == torch_file.SUFFIX:
        trained.refuse_best(which, str(run))
        return torch_file.load_classifier(Path(run))
    return load_classifier(open_run(run, root=root).folder, which)


def predict(
    run: str | Path | Run,
    sources: str | Path | Iterable[str | Path],
    *,
    top: int = 5,
    explain: str | Path | None = None,
    which: trained.Which = "last",
    root: Path | None = None,
    reporter: Reporter | None = None,
) -> Iterator[Answer]:
    """Classify image files, folders of them, and `-`, an image on standard input.

    Answers come as they are found, in the order of `sources`. What cannot be read is an answer with an error,
    and the rest goes on. With `explain`, a PNG of each picture beside its heat map is written into that
    folder, which is left out where it lies in a folder that is searched; none takes the place of a picture.
    Raises `UsageError` for a source that is not there and for a folder without images, before anything is
    read.
    """
    if top < 1:
        raise UsageError(f"top: ask for one class at least, got {top}")
    reporter = reporter or Silent()
    drawn = None if explain is None else Path(explain)
    named = [sources] if isinstance(sources, str | Path) else sources
    pictures = find_pictures(named, reporter, without=drawn)
    classifier = load(run, which=which, root=root)
    if classifier.temperature is None:
        reporter.note("probabilities are not calibrated: this checkpoint has no scores on validation images")
    if drawn is not None:
        try:
            drawn.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ToyNetError(f"{drawn} cannot be made: {error.strerror}") from None
    return _answers(classifier, pictures, top, drawn, reporter)


def _answers(
    classifier: Classifier,
    pictures: Sequence[PictureFile],
    top: int,
    explain: Path | None,
    reporter: Reporter,
) -> Iterator[Answer]:
    reporter.begin("predict", len(pictures), "images")
    taken = set() if explain is None else _taken(pictures, explain)
    with ThreadPoolExecutor() as pool:
        # Reading ahead would take cores from the network, whose threads wait for one another.
        for start in range(0, len(pictures), _BATCH):
            batch = pictures[start : start + _BATCH]
            read = _read(classifier, batch, pool)
            for picture, pixels, answer in zip(batch, read, _classify(classifier, read, top), strict=True):
                answer = replace(answer, source=picture.source)
                if explain is not None and not isinstance(pixels, DataError):
                    path = explain / _free_name(picture.stem, taken)
                    _explain(classifier, picture, pixels, answer.top[0].label, path)
                    answer = replace(answer, explanation=path)
                yield answer
                reporter.advance(1)


def _taken(pictures: Sequence[PictureFile], folder: Path) -> set[str]:
    """Names that no explanation may have: all in `folder`, where it is one of those that pictures are in."""
    homes = {Path(picture.source).parent.resolve() for picture in pictures if picture.content is None}
    return {path.name.lower() for path in folder.iterdir()} if folder.resolve() in homes else set()


def _read(classifier: Classifier, batch: Sequence[PictureFile], pool: Executor) -> list[_Read]:
    """Large pictures are read by threads; with small ones these would mostly wait for Python's lock."""
    large = {
        place: pool.submit(_read_one, classifier, picture)
        for place, picture in enumerate(batch)
        if picture.size_bytes > _LARGE_BYTES
    }
    return [
        large[place].result() if place in large else _read_one(classifier, picture)
        for place, picture in enumerate(batch)
    ]


def _read_one(classifier: Classifier, picture: PictureFile) -> _Read:
    try:
        return classifier.read(picture.opened())
    except DataError as error:
        return error


def _classify(classifier: Classifier, read: Sequence[_Read], top: int) -> list[Answer]:
    """An answer for each, still without its source; those that could be read are classified in one batch."""
    pixels = [one for one in read if not isinstance(one, DataError)]
    rows = iter(classifier.probabilities(np.stack(pixels)) if pixels else ())
    return [
        Answer("", error=str(one))
        if isinstance(one, DataError)
        else Answer("", tuple(Prediction(classifier.classes, next(rows)).top(top)))
        for one in read
    ]


def _explain(
    classifier: Classifier, picture: PictureFile, pixels: NDArray[np.uint8], label: str, path: Path
) -> None:
    """Write the picture, larger than the model sees it, beside the heat map of `label`."""
    from toynet.reporting.heat import side_by_side  # loads matplotlib, which answers alone need not wait for

    heat = classifier.explain(pixels[np.newaxis], np.array([classifier.classes.index(label)]))[0]
    tall, wide, _ = classifier.image_shape
    scale = _SHOWN_PX / max(tall, wide)
    sheet = side_by_side(read_pixels(picture.opened(), (round(tall * scale), round(wide * scale))), heat)
    try:
        write_atomic_with(path, lambda file: sheet.save(file, "png"))
    except OSError as error:
        raise ToyNetError(f"{path} cannot be written: {error.strerror}") from None


def _free_name(stem: str, taken: set[str]) -> str:
    """`stem.png`, or with a number where another picture of this call has that name."""
    number, name = 1, f"{stem}.png"
    while name.lower() in taken:
        number += 1
        name = f"{stem}-{number}.png"
    taken.add(name.lower())
    return name
