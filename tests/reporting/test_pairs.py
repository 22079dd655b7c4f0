from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from toynet.core.errors import UsageError
from toynet.reporting import pairs as room
from toynet.reporting.pairs import Pair, draw_pairs


def _pairs(draw: np.random.Generator, count: int, side: int = 8, channels: int = 3) -> list[Pair]:
    images = draw.integers(0, 256, (count, 2, side, side, channels), np.uint8)
    return [Pair(left, right, 1 - index / 1000) for index, (left, right) in enumerate(images)]


def test_every_pair_is_there_side_by_side(
    tmp_path: Path, figures: list[Figure], draw: np.random.Generator
) -> None:
    pairs = _pairs(draw, 11)
    draw_pairs(pairs, tmp_path / "a.png", "mine")
    (axes,) = figures[0].axes
    sheet = np.asarray(axes.images[0].get_array())
    tile = sheet.shape[1] // 8
    for index in (0, 7, 10):
        top, left = index // 8 * (sheet.shape[0] // 2), index % 8 * tile
        np.testing.assert_array_equal(sheet[top : top + 8, left : left + 8], pairs[index].left)
        np.testing.assert_array_equal(sheet[top : top + 8, left + 10 : left + 18], pairs[index].right)
    assert [text.get_text() for text in axes.texts] == [f"{pair.likeness:.2f}" for pair in pairs]
    assert figures[0].texts[0].get_text() == "mine: 11 pairs"


def test_large_and_gray_images(tmp_path: Path, draw: np.random.Generator) -> None:
    draw_pairs(_pairs(draw, 2, side=200, channels=1), tmp_path / "a.png", "$x_1$ <b>")
    assert (tmp_path / "a.png").stat().st_size > 5_000


def test_what_is_left_out_is_said(
    tmp_path: Path, figures: list[Figure], draw: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MOST_SHOWN", 3)
    draw_pairs(_pairs(draw, 4), tmp_path / "a.png", "mine")
    assert figures[0].texts[0].get_text() == "mine: 4 pairs, of which the first 3"
    assert len(figures[0].axes[0].texts) == 3
    with pytest.raises(UsageError, match="no pairs"):
        draw_pairs([], tmp_path / "a.png", "mine")
