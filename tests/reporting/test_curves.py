import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from toynet.core.errors import UsageError
from toynet.core.records import EpochRecord
from toynet.reporting.curves import draw_curves

Epochs = Callable[..., list[EpochRecord]]


def test_three_panels_show_the_records(tmp_path: Path, epochs: Epochs, figures: list[Figure]) -> None:
    records = epochs(21)
    draw_curves(records, tmp_path / "a.png", "a run")
    accuracy, loss, rate = figures[0].axes
    assert list(accuracy.lines[0].get_ydata()) == [100 * record.train_accuracy for record in records]
    assert list(accuracy.lines[1].get_ydata()) == [100 * record.val_accuracy for record in records]
    assert list(loss.lines[1].get_ydata()) == [record.val_loss for record in records]
    assert list(rate.lines[0].get_ydata()) == [record.lr for record in records]
    assert list(rate.lines[0].get_xdata()) == list(range(1, 22))
    assert "best validation: 80.00 %, epoch 11" in _legend(figures[0])
    assert (tmp_path / "a.png").stat().st_size > 10_000


@pytest.mark.parametrize(("last_rate", "scale"), [(1e-5, "log"), (5e-4, "linear"), (1.01e-4, "linear")])
def test_rate_is_logarithmic_beyond_a_decade(
    tmp_path: Path, epochs: Epochs, figures: list[Figure], last_rate: float, scale: str
) -> None:
    draw_curves(epochs(5, last_rate=last_rate), tmp_path / "a.png", "a run")
    assert figures[0].axes[2].get_yscale() == scale


@pytest.mark.parametrize(("last_loss", "scale"), [(1e23, "log"), (30.0, "linear")])
def test_loss_is_logarithmic_beyond_three_decades(
    tmp_path: Path, epochs: Epochs, figures: list[Figure], last_loss: float, scale: str
) -> None:
    records = epochs(5)
    records[-1] = records[-1].model_copy(update={"train_loss": last_loss})
    draw_curves(records, tmp_path / "a.png", "a run")
    loss = figures[0].axes[1]
    assert loss.get_yscale() == scale
    assert not any("$" in label.get_text() for label in loss.get_yticklabels())


def test_rate_that_ends_at_zero(tmp_path: Path, epochs: Epochs, figures: list[Figure]) -> None:
    records = epochs(5)
    records[-1] = records[-1].model_copy(update={"lr": 0.0})
    draw_curves(records, tmp_path / "a.png", "a run")
    assert figures[0].axes[2].get_yscale() == "log"


def test_without_validation(tmp_path: Path, epochs: Epochs, figures: list[Figure]) -> None:
    draw_curves(epochs(5, validated=False), tmp_path / "a.svg", "$x_1$ <script>")
    assert _legend(figures[0]) == ["train"]
    assert len(figures[0].axes[0].lines) == 1
    ET.parse(tmp_path / "a.svg")


def test_one_epoch_is_a_dot(tmp_path: Path, epochs: Epochs, figures: list[Figure]) -> None:
    draw_curves(epochs(1), tmp_path / "a.png", "a run")
    assert figures[0].axes[0].lines[0].get_marker() == "o"


def test_a_diverged_run_is_drawn(tmp_path: Path, epochs: Epochs) -> None:
    records = epochs(4)
    lost = {"train_loss": float("nan"), "val_loss": float("inf"), "val_accuracy": None}
    records[-1] = records[-1].model_copy(update=lost)
    draw_curves(records, tmp_path / "a.png", "a run")


def test_same_records_give_the_same_picture(tmp_path: Path, epochs: Epochs) -> None:
    for name in ("a.png", "b.png"):
        draw_curves(epochs(3), tmp_path / name, "a run")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_no_epochs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no epochs"):
        draw_curves([], tmp_path / "a.png", "a run")


def _legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]
