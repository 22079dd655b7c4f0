import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib as mpl
import pytest
from PIL import Image

from toynet.core.errors import UsageError
from toynet.reporting import words
from toynet.reporting.style import canvas, place, printable

HREF = "{http://www.w3.org/1999/xlink}href"
HOSTILE = [
    "<script>alert(1)</script>",
    "$x_1$",
    "$\\frac{",
    "a--b & ]]>",
    "猫",
    "bell\x07",
    "lone\udc80",
    "l\nm",
]


def _draw(path: Path, names: list[str]) -> bytes:
    with canvas(path, 4, 3) as figure:
        axes = figure.subplots()
        axes.set_yticks(range(len(names)), [printable(name) for name in names])
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_same_drawing_gives_same_bytes(tmp_path: Path, kind: str) -> None:
    first = _draw(tmp_path / f"a.{kind}", ["cat", "dog"])
    assert first == _draw(tmp_path / f"b.{kind}", ["cat", "dog"])
    assert first != _draw(tmp_path / f"c.{kind}", ["cat", "cow"])


def test_png_has_the_promised_size(tmp_path: Path) -> None:
    _draw(tmp_path / "a.png", ["cat"])
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (600, 450)
        assert "Software" not in image.info


def test_hostile_names_stay_text_and_the_svg_well_formed(tmp_path: Path) -> None:
    root = ET.fromstring(_draw(tmp_path / "a.svg", HOSTILE))
    assert root.tag.endswith("}svg")
    assert not [node for node in root.iter() if str(node.tag).endswith("script")]


def test_mathematical_markup_is_shown_letter_by_letter(tmp_path: Path) -> None:
    # Set as mathematics, "$x_1$" would lose its dollars and its underscore.
    def letters(name: str) -> int:
        root = ET.fromstring(_draw(tmp_path / "a.svg", [name]))
        return sum("DejaVu" in (node.get(HREF) or "") for node in root.iter() if node.tag.endswith("}use"))

    assert letters("$x_1$") == letters("abcde") > letters("abcd")


def test_global_settings_are_left_as_they_were(tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    _draw(tmp_path / "a.png", ["cat"])
    assert dict(mpl.rcParams) == before


def test_a_failed_drawing_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), canvas(tmp_path / "a.png", 1, 1):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_other_file_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.pdf: .*\.png or \.svg"):
        _draw(tmp_path / "a.pdf", ["cat"])


def test_place_is_in_inches(tmp_path: Path) -> None:
    with canvas(tmp_path / "a.png", 4, 2, arrange=False) as figure:
        axes = place(figure, 1, 0.5, 2, 1)
        assert axes.get_position().bounds == pytest.approx((0.25, 0.25, 0.5, 0.5))


@pytest.mark.parametrize(
    ("name", "shown"),
    [("cat", "cat"), ("a\nb", "a\ufffdb"), ("x" * 30, "x" * 23 + "…"), ("y" * 24, "y" * 24), ("", "")],
)
def test_printable(name: str, shown: str) -> None:
    assert printable(name) == shown


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (999.4, "999"),
        (999_499, "999 k"),
        (999_600, "1.00 M"),
        (999.7e6, "1.00 G"),
        (6_383_050, "6.38 M"),
        (None, "–"),
    ],
)
def test_a_magnitude_has_three_digits_and_its_unit(value: float | None, told: str):
    assert words.magnitude(value) == told
