import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from toynet.core.errors import UsageError
from toynet.reporting.gallery import draw_gallery, draw_preview


def _images(draw: np.random.Generator, count: int, channels: int = 3) -> np.ndarray:
    return draw.integers(0, 256, (count, 8, 8, channels), np.uint8)


def test_right_and_wrong_are_said(tmp_path: Path, figures: list[Figure], draw: np.random.Generator) -> None:
    likely = np.array([[0.7, 0.3], [0.2, 0.8]])
    names = ["<script>", "$x_1$"]
    draw_gallery(_images(draw, 2), likely, np.array([0, 0]), names, tmp_path / "a.svg")
    first, bars, second, _ = figures[0].axes
    assert (first.get_title(loc="left"), second.get_title(loc="left")) == ("✓ right", "✗ wrong")
    colours = [axes.spines["left"].get_edgecolor() for axes in (first, second)]
    assert colours[0] != colours[1]
    assert bars.get_title(loc="left") == "true: <script>"
    assert [text.get_text() for text in bars.texts] == ["<script>", "70 %", "$x_1$", "30 %"]
    assert figures[0].texts[0].get_text() == "Test predictions: 1 wrong, 1 right"
    draw_gallery(_images(draw, 2), likely, np.array([0, 1]), names, tmp_path / "b.svg", "validation")
    assert figures[1].texts[0].get_text() == "Validation predictions: 0 wrong, 2 right"
    assert not [node for node in ET.parse(tmp_path / "a.svg").iter() if node.tag.endswith("script")]


def test_the_five_likeliest_in_order(
    tmp_path: Path, figures: list[Figure], draw: np.random.Generator
) -> None:
    likely = draw.dirichlet([0.3] * 100, 1)
    names = [f"c{k}" for k in range(100)]
    draw_gallery(_images(draw, 1), likely, np.array([3]), names, tmp_path / "a.png")
    bars = figures[0].axes[1]
    assert [bar.get_width() for bar in bars.patches] == sorted(likely[0], reverse=True)[:5]
    shown = [text.get_text() for text in bars.texts[::2]]
    assert shown == sorted(names, key=lambda name: -likely[0, int(name[1:])])[:5]


def test_at_most_twenty_four_and_single_channel(
    tmp_path: Path, figures: list[Figure], draw: np.random.Generator
) -> None:
    labels = draw.integers(0, 3, 30)
    for name in ("a.png", "b.png"):
        draw_gallery(
            _images(draw, 30, 1)[:], draw.dirichlet([0.3] * 3, 30), labels, list("abc"), tmp_path / name
        )
    assert len(figures[0].axes) == 48
    assert (tmp_path / "a.png").stat().st_size > 30_000


def test_same_predictions_give_the_same_picture(tmp_path: Path, draw: np.random.Generator) -> None:
    images, likely = _images(draw, 2), draw.dirichlet([0.3] * 6, 2)
    for name in ("a.png", "b.png"):
        draw_gallery(images, likely, np.array([0, 1]), list("abcdef"), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(("count", "channels"), [(1, 1), (3, 3), (17, 3)])
def test_preview(
    tmp_path: Path, figures: list[Figure], draw: np.random.Generator, count: int, channels: int
) -> None:
    images = _images(draw, count, channels)
    standardised = (images / np.float32(255) - 0.5) / 0.25
    draw_preview(images[0], images, standardised, tmp_path / "a.png", "$t$")
    single, augmented, shown = (axes.images[0].get_array() for axes in figures[0].axes)
    np.testing.assert_array_equal(single, np.broadcast_to(images[0], (8, 8, 3)))
    np.testing.assert_array_equal(augmented[:8, :8], single)
    assert (shown.min(), shown.max()) == (0, 255)
    low = f"{standardised.min():.2f}".replace("-", "−")
    assert f"rescaled to be shown: {low} black" in figures[0].axes[2].get_title(loc="left")


def test_preview_puts_every_image_in_its_place(
    tmp_path: Path, figures: list[Figure], draw: np.random.Generator
) -> None:
    images = _images(draw, 10)
    draw_preview(images[0], images, images.astype(np.float32), tmp_path / "a.svg", "a")
    sheet = figures[0].axes[1].images[0].get_array()
    assert sheet.shape == (18, 78, 3)
    np.testing.assert_array_equal(sheet[10:18, 10:18], images[9])
    assert (sheet[10:, 20:] == 255).all()
    ET.parse(tmp_path / "a.svg")


def test_a_constant_image_is_shown(tmp_path: Path) -> None:
    flat = np.zeros((2, 8, 8, 3))
    draw_preview(flat[0].astype(np.uint8), flat.astype(np.uint8), flat, tmp_path / "a.png", "flat")


def test_nothing_to_show_is_an_error(tmp_path: Path, draw: np.random.Generator) -> None:
    none = _images(draw, 0)
    with pytest.raises(UsageError, match="no images"):
        draw_gallery(none, np.zeros((0, 2)), np.zeros(0, np.int64), list("ab"), tmp_path / "a.png")
    with pytest.raises(UsageError, match="no augmented"):
        draw_preview(np.zeros((8, 8, 3), np.uint8), none, none.astype(float), tmp_path / "a.png", "t")
