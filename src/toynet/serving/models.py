"""Models in memory: loaded once, in the background, and the few that were used last kept."""

import io
import threading
import time
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from toynet.core.errors import ToyNetError
from toynet.reporting.heat import overlay
from toynet.reporting.run_page import png_address
from toynet.runs.folder import RunFolder
from toynet.serving.answers import Guess, Prediction
from toynet.serving.runs import damage

if TYPE_CHECKING:
    from toynet.runs.classifier import Classifier


@dataclass(frozen=True)
class Model:
    """A run's classifier, for one thread at a time."""

    classifier: "Classifier"
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def predict(self, run: str, picture: bytes, top: int, heat: bool) -> Prediction:
        """Raises `DataError` for a picture that cannot be read."""
        began = time.perf_counter()
        pixels = self.classifier.read(io.BytesIO(picture))
        drawn, missing = None, None
        with self._lock:
            answer = self.classifier.predict(pixels)
            try:
                label = np.array([self.classifier.classes.index(answer.label)])
                levels = self.classifier.explain(pixels[None], label)[0] if heat else None
            except ToyNetError as error:
                levels, missing = None, str(error)
        if levels is not None:
            drawn = png_address(np.asarray(overlay(pixels, levels)))
        return Prediction(
            run=run,
            guesses=tuple(Guess(name=name, probability=share) for name, share in answer.top(top)),
            calibrated=self.classifier.temperature is not None,
            seen=png_address(pixels),
            heat=drawn,
            heat_missing=missing,
            milliseconds=round(1000 * (time.perf_counter() - began), 1),
        )


class Shelf:
    """At most `most` models. One thread loads, so that loading never takes more than one core."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Path, tuple[object, Future[Model]]] = OrderedDict()
        self._lock = threading.Lock()
        self._wanted: SimpleQueue[tuple[RunFolder, Future[Model]]] = SimpleQueue()
        threading.Thread(target=self._load, name="models", daemon=True).start()

    def ask(self, folder: RunFolder) -> "Future[Model]":
        """The model of the run's last checkpoint: there already, being loaded, or from now on.

        Its exception is `ToyNetError` where the run has none yet or it is damaged.
        """
        state = _state(folder)
        with self._lock:
            found = self._kept.get(folder.path)
            if found is not None and found[0] == state and not _failed(found[1]):
                self._kept.move_to_end(folder.path)
                return found[1]
            future: Future[Model] = Future()
            self._kept[folder.path] = state, future
            self._kept.move_to_end(folder.path)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)[1][1].cancel()
        self._wanted.put((folder, future))
        return future

    def _load(self) -> None:
        while True:
            folder, future = self._wanted.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(_loaded(folder))
            except Exception as error:
                future.set_exception(ToyNetError(damage(folder.path, error)))


def _loaded(folder: RunFolder) -> Model:
    """Used once, since the first use of a model takes longer than any other."""
    from toynet.runs.classifier import load_classifier

    model = Model(load_classifier(folder))
    blank = io.BytesIO()
    Image.new("L", (8, 8)).save(blank, "png")
    model.predict(folder.name, blank.getvalue(), top=1, heat=True)
    return model


def _state(folder: RunFolder) -> object:
    """What changes when a new checkpoint is there."""
    try:
        return sorted(path.name for path in folder.checkpoints.iterdir()), (
            folder.path / "result.json"
        ).exists()
    except OSError:
        return None


def _failed(future: "Future[Model]") -> bool:
    return future.cancelled() or (future.done() and future.exception() is not None)
