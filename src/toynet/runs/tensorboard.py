"""The curves and weight histograms of a run as TensorBoard events."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import nn
from torch.utils.tensorboard.writer import SummaryWriter

from toynet.core.records import EpochRecord

_LARGEST_SHOWN = 1e20
"""Beyond the outermost bin TensorBoard's writer raises an error."""


class EventLog:
    """Writes epochs (counted from 1) into a TensorBoard folder."""

    def __init__(self, writer: SummaryWriter) -> None:
        self._writer = writer

    def scalars(self, record: EpochRecord) -> None:
        """Accuracy and loss of both parts, the learning rate, the gradient's norm, the speed."""
        values = {
            "accuracy/train": record.train_accuracy,
            "accuracy/validation": record.val_accuracy,
            "loss/train": record.train_loss,
            "loss/validation": record.val_loss,
            "learning_rate": record.lr,
            "gradient_norm": record.grad_norm,
            "images_per_s": record.images_per_s,
        }
        for tag, value in values.items():
            if value is not None:
                self._writer.add_scalar(tag, value, record.epoch)
        self._writer.flush()

    def histograms(self, model: nn.Module, epoch: int) -> None:
        """The distribution of every kernel's weights, where they lie in TensorBoard's range."""
        for name, weight in model.named_parameters():
            if weight.ndim >= 2 and weight.abs().max().item() < _LARGEST_SHOWN:  # false for NaN too
                self._writer.add_histogram(f"weights/{name}", weight.detach().float(), epoch)
        self._writer.flush()


@contextmanager
def event_log(folder: Path, *, epochs_done: int) -> Iterator[EventLog]:
    """Open the log; after a resume, events beyond `epochs_done` of an earlier process are purged."""
    purge = epochs_done + 1 if epochs_done else None
    writer = SummaryWriter(str(folder), purge_step=purge)
    try:
        yield EventLog(writer)
    finally:
        writer.close()
