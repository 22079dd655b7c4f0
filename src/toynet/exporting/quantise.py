"""The ONNX model in 8-bit integers, and what that costs and gains on this machine."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from toynet.core.errors import DataError
from toynet.core.reporter import Reporter
from toynet.exporting import onnx_file
from toynet.exporting.extras import require
from toynet.exporting.origin import Origin
from toynet.exporting.parity import Logits, accuracy
from toynet.exporting.records import Int8, Preprocessing

CALIBRATION_IMAGES, BATCH = 512, 64
ROUNDS = 7
MUCH_WORSE = 0.01
"""A loss of accuracy that is said aloud."""


def quantise(
    path: Path, target: Path, origin: Origin, preprocessing: Preprocessing, reporter: Reporter
) -> Int8:
    """Write the 8-bit version of the model at `path` to `target`, and measure both on the probe.

    Static, one scale for each channel of a kernel; the ranges come from training images. Raises `DataError`
    where the run's images are not at hand.
    """
    (quantization,) = require("export", "onnxruntime.quantization")
    pixels = origin.probe.calibration
    if pixels is None:
        raise DataError(
            "--int8 needs the run's training images to calibrate on; leave it out, or bring them back"
        )
    # Spread over the training part, in case it lies sorted.
    chosen = pixels[np.linspace(0, len(pixels) - 1, min(CALIBRATION_IMAGES, len(pixels))).astype(int)]
    reporter.note(f"calibrating on {len(chosen)} training images")
    with _quiet():
        quantization.quantize_static(
            str(path),
            str(target),
            _reader(quantization, chosen, origin, preprocessing),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
    threads = torch.get_num_threads()
    slow, fast = (onnx_file.read(file, origin, preprocessing) for file in (path, target))
    scores = accuracy(origin, slow), accuracy(origin, fast)
    rates = _rates(slow, fast, origin.probe.images)
    return Int8(
        file=target.name,
        calibration_images=len(chosen),
        bytes=target.stat().st_size,
        accuracy=scores[1],
        float32_accuracy=scores[0],
        images=len(origin.probe.images),
        images_per_s=rates[1],
        float32_images_per_s=rates[0],
        threads=threads,
        verdict=_verdict(*rates, *scores),
    )


def _reader(
    quantization: Any, images: NDArray[np.uint8], origin: Origin, preprocessing: Preprocessing
) -> Any:
    batches = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        """The form in which onnxruntime asks for images."""

        def __init__(self) -> None:
            self.left = iter(batches)

        def get_next(self) -> dict[str, Any] | None:
            batch = next(self.left, None)
            if batch is None:
                return None
            return {"images": onnx_file.prepared(batch, origin, preprocessing)}

    return Reader()


def _rates(slow: Logits, fast: Logits, images: NDArray[np.uint8]) -> tuple[float, float]:
    """Images a second of both, median of rounds that take turns, so that other work slows both alike."""
    batch = images[:BATCH]
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for logits, taken in zip((slow, fast), seconds, strict=True):
            started = time.perf_counter()
            logits(batch)
            taken.append(time.perf_counter() - started)
    first, second = (len(batch) / median(taken) for taken in seconds)
    return first, second


def _verdict(before: float, after: float, exact: float | None, rounded: float | None) -> str:
    speed = f"{after / before:.2f} times the speed of float32 here"
    if after < before:
        speed = f"slower than float32 here ({after / before:.2f} times its speed)"
    if exact is None or rounded is None:
        return f"{speed}; its accuracy was not measured"
    lost = 100 * (exact - rounded)
    change = f"{lost:.2f} points of accuracy lost" if lost > 0 else "no accuracy lost"
    warning = "much worse than float32: " if lost > 100 * MUCH_WORSE else ""
    return f"{warning}{change}; {speed}"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without onnxruntime's advice, on the root log, to prepare the model by another of its tools first."""
    log, before = logging.getLogger(), logging.getLogger().level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
