"""What an export leaves behind, as frozen records."""

from typing import Literal

from toynet.core.records import Record

Format = Literal["onnx", "torch", "keras"]
Preprocessing = Literal["inside", "beside"]


class Parity(Record):
    """How far the exported model's logits are from the original's, in float32."""

    images: int
    source: str
    """What images they were."""

    batch_sizes: tuple[int, ...]
    max_difference: float
    limit: float
    """An export beyond it is refused."""


class Int8(Record):
    """The quantised model beside the float32 one, in onnxruntime on the same images."""

    file: str
    calibration_images: int
    bytes: int
    accuracy: float | None
    """None where there were no labelled images to score."""

    float32_accuracy: float | None
    images: int
    images_per_s: float
    float32_images_per_s: float
    threads: int
    verdict: str
    """In words: is it faster, and what does it cost."""

    @property
    def speed_ratio(self) -> float:
        return self.images_per_s / self.float32_images_per_s


class Export(Record):
    """An export: its files, and what was measured when they were made."""

    run: str
    format: Format
    files: tuple[str, ...]
    """Paths; the model first."""

    bytes: int
    preprocessing: Preprocessing | None
    """None for weights alone."""

    opset: int | None
    folded_norms: int | None
    kept_norms: int | None
    temperature: float
    parity: Parity
    accuracy: float | None
    """Of the exported model on the images of the parity check, where they are validation images."""

    int8: Int8 | None
