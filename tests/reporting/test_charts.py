import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from toynet.core.errors import UsageError
from toynet.reporting.charts import draw_calibration, draw_confusion, draw_per_class
from toynet.reporting.inline import inline


def test_confusion_is_in_per_cent_of_rows(tmp_path: Path, figures: list[Figure]) -> None:
    matrix = np.array([[3, 1], [0, 0]])
    draw_confusion(matrix, ["<script>", "$x_1$"], tmp_path / "a.svg")
    axes = figures[0].axes[0]
    assert [text.get_text() for text in axes.texts] == ["75.0", "25.0"]
    assert axes.images[0].get_array().tolist() == [[75, 25], [0, 0]]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["<script>", "$x_1$"]
    assert "75.00 % of 4 images right" in axes.get_title(loc="left")
    svg = (tmp_path / "a.svg").read_text()
    ET.fromstring(svg)
    assert "<script>" not in svg.replace("<!-- <script> -->", "")


def test_small_shares_are_not_shown_as_zero(tmp_path: Path, figures: list[Figure]) -> None:
    matrix = np.eye(12, dtype=np.int64) * 995
    matrix[0, 1] = 4
    draw_confusion(matrix, [str(k) for k in range(12)], tmp_path / "a.png")
    assert {text.get_text() for text in figures[0].axes[0].texts} == {"100", "<1"}


@pytest.mark.parametrize(("count", "numbers"), [(20, 400), (21, 0)])
def test_numbers_end_above_twenty_classes(
    tmp_path: Path, figures: list[Figure], count: int, numbers: int
) -> None:
    draw_confusion(np.ones((count, count), np.int64), ["k"] * count, tmp_path / "a.png")
    assert len(figures[0].axes[0].texts) == numbers


def test_a_hundred_classes(tmp_path: Path, draw: np.random.Generator) -> None:
    matrix = draw.integers(0, 5, (100, 100))
    names = [f"class {k}" for k in range(100)]
    draw_confusion(matrix, names, tmp_path / "a.png")
    draw_per_class(matrix, names, tmp_path / "b.png")
    assert min((tmp_path / name).stat().st_size for name in ("a.png", "b.png")) > 30_000


def test_per_class_is_sorted_by_recall(tmp_path: Path, figures: list[Figure]) -> None:
    # recall: 8/10, 2/4, none; precision: 8/8, 2/3, 0/3
    matrix = np.array([[8, 1, 1], [0, 2, 2], [0, 0, 0]])
    draw_per_class(matrix, ["a", "$b$", "c"], tmp_path / "a.png")
    axes = figures[0].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["c", "$b$", "a"]
    precision, recall, mean = axes.lines
    np.testing.assert_allclose(recall.get_xdata(), [np.nan, 50, 80])
    np.testing.assert_allclose(precision.get_xdata(), [0, 200 / 3, 100])
    assert mean.get_label() == "mean recall 65.0 %"
    assert [text.get_text() for text in axes.texts] == ["no images"]


def test_a_class_never_predicted_is_said(tmp_path: Path, figures: list[Figure]) -> None:
    draw_per_class(np.array([[5, 0], [3, 0]]), ["a", "b"], tmp_path / "a.png")
    assert [text.get_text() for text in figures[0].axes[0].texts] == ["never predicted"]


def test_calibration_error_by_hand(tmp_path: Path, figures: list[Figure]) -> None:
    # Bin of 0.9: four images, half right, gap 0.4; bin of 0.6: one image, right, gap 0.4.
    sure = np.array([[0.9, 0.1]] * 4 + [[0.4, 0.6]])
    draw_calibration(sure, np.array([0, 0, 1, 1, 1]), tmp_path / "a.png")
    curve, histogram = figures[0].axes
    assert "40.00 %" in curve.get_title(loc="left")
    np.testing.assert_allclose(curve.lines[1].get_xydata(), [[60, 100], [90, 50]])
    assert [text.get_text() for text in histogram.texts] == ["1", "4"]
    heights = [bar.get_height() for bar in histogram.patches]
    assert {index: height for index, height in enumerate(heights) if height} == {9: 1, 13: 4}


def test_intervals_are_wilsons(figures: list[Figure], tmp_path: Path) -> None:
    # Newcombe (1998), table 1: 81 of 263 gives 0.2553 to 0.3662 by Wilson's method.
    sure = np.tile([0.7, 0.3], (263, 1))
    labels = (np.arange(263) >= 81).astype(np.int64)
    draw_calibration(sure, labels, tmp_path / "a.png")
    ((_, low), (_, high)) = figures[0].axes[0].collections[0].get_segments()[0]
    assert (low, high) == pytest.approx((25.53, 36.62), abs=0.01)


def test_calibration_error_bin_by_bin(
    tmp_path: Path, figures: list[Figure], draw: np.random.Generator
) -> None:
    likely, labels = draw.dirichlet([0.3] * 4, 300), draw.integers(0, 4, 300)
    draw_calibration(likely, labels, tmp_path / "a.png")
    error = 0.0
    for step in range(15):
        inside = [
            (max(row), row.argmax() == label)
            for row, label in zip(likely, labels, strict=True)
            if step / 15 <= max(row) < (step + 1) / 15
        ]
        error += abs(sum(sure for sure, _ in inside) - sum(hit for _, hit in inside)) / 300
    assert f"{100 * error:.2f} %" in figures[0].axes[0].get_title(loc="left")


@pytest.mark.parametrize("confidence", [0.5, 1.0])
def test_calibration_at_the_ends(tmp_path: Path, confidence: float) -> None:
    likely = np.array([[confidence, 1 - confidence]], np.float32)
    draw_calibration(likely, np.array([0]), tmp_path / "a.svg")
    ET.parse(tmp_path / "a.svg")


def test_nothing_to_calibrate_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no predictions"):
        draw_calibration(np.zeros((0, 3)), np.zeros(0, np.int64), tmp_path / "a.png")


def test_what_a_drawing_says_aloud_keeps_its_numbers():
    drawing = inline(
        lambda figure: figure.subplots().plot([1.23456, 2]), 3, 2, name="x", told="lr=0.00125 ends at 0.3579"
    )
    assert 'aria-label="lr=0.00125 ends at 0.3579"' in drawing
