import re
from xml.etree import ElementTree

import pytest

from toynet.core.errors import UsageError
from toynet.models import svg
from toynet.models.architectures import ARCHITECTURES
from toynet.models.diagram import diagram
from toynet.models.spec import ModelSpec

SVG = "{http://www.w3.org/2000/svg}"


def texts(spec, classes=10, shape=(32, 32, 3)):
    root = ElementTree.fromstring(diagram(spec, classes, shape))
    assert root.tag == f"{SVG}svg"
    return root, [element.text for element in root.iter(f"{SVG}text")]


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("order", ["pre", "post", "relu_bn"])
@pytest.mark.parametrize("shortcut", ["conv", "conv_bn", "pool"])
def test_every_model_gives_well_formed_self_contained_svg_inside_its_page(name, order, shortcut):
    words = assert_sound(ModelSpec(name=name, order=order, shortcut=shortcut, dropout=0.5, conv_dropout=0.1))
    assert words.count("dropout 0.1") == 2


def test_speednet_shows_groups_widths_and_sizes():
    words = assert_sound(ModelSpec(name="speednet", widths=(32, 64, 128), dropout=0.5))
    for expected in ("SpeedNet", "31 × 31 × 24", "15 × 15 × 32", "7 × 7 × 64", "3 × 3 × 128"):
        assert expected in words
    with pytest.raises(UsageError, match="too small"):
        diagram(ModelSpec(name="speednet"), 10, (8, 32, 3))


def assert_sound(spec):
    """Texts of a picture that links to nothing and stays inside its page."""
    root, words = texts(spec)
    assert not any("href" in key for element in root.iter() for key in element.attrib)
    width, height = float(root.get("width")), float(root.get("height"))
    for element in root.iter(f"{SVG}text"):
        # 0.62 of the size is a generous mean width of a letter.
        reach = len(element.text) * float(element.get("font-size")) * 0.62
        x = float(element.get("x"))
        left = x - reach / 2 if element.get("text-anchor") == "middle" else x
        assert left >= 0
        assert left + reach <= width, element.text
        assert 0 < float(element.get("y")) < height
    assert "dropout 0.5" in words
    return words


def test_toynet14_shows_stacks_widths_sizes_and_head():
    _, words = texts(ModelSpec(name="toynet14", dropout=0.6))
    for expected in (
        "ToyNet14",
        "Inside a ToyBlock",
        "2 ToyBlocks, w = 128",
        "1 ToyBlock, w = 512",
        "32 × 32 × 3",
        "16 × 16 × 128",
        "4 × 4 × 512",
        "BN, ReLU",
        "global average pooling",
        "dropout 0.6",
    ):
        assert expected in words


def test_projections_are_drawn_where_the_shape_changes():
    def tiles(name):
        root, _ = texts(ModelSpec(name=name))
        return sum(rect.get("fill") == "#f7d3bb" for rect in root.iter(f"{SVG}rect")) - 1

    assert tiles("toynet14") == 3
    assert tiles("pure_resnet18") == 3
    assert tiles("pure_resnet152") == 4


def test_long_stacks_are_counted_and_other_shapes_shown():
    _, words = texts(ModelSpec(name="pure_resnet152", head="flatten"), 100, (64, 48, 1))
    assert "× 35" in words
    assert "64 × 48 × 1" in words
    assert "4 × 3 × 2048" in words
    assert "24576" in words
    assert "conv 3×3 with bias, BN" in words


def test_layers_stand_in_the_order_of_the_spec():
    def column(order):
        root, _ = texts(ModelSpec(order=order))
        labels = [
            (float(t.get("y")), t.text) for t in root.iter(f"{SVG}text") if float(t.get("x")) == 48 + 132 / 2
        ]
        return [re.sub(" 3×3.*", "", text) for _, text in sorted(labels)]

    assert column("pre") == ["BN", "ReLU", "conv", "BN", "ReLU", "conv"]
    assert column("post") == ["conv", "BN", "ReLU", "conv", "BN", "ReLU"]
    assert column("relu_bn") == ["conv", "ReLU", "BN", "conv", "ReLU", "BN"]


def test_bad_specs_are_refused_as_by_build():
    with pytest.raises(UsageError, match="did you mean"):
        diagram(ModelSpec(name="toynet_14"), 10, (32, 32, 3))


def test_text_is_escaped():
    hostile = "</text><script>alert('&')</script>"
    root = ElementTree.fromstring(svg.document(10, 10, hostile, [svg.text(0, 0, hostile)]))
    assert root.find(f"{SVG}text").text == hostile
    assert root.find(f"{SVG}title").text == hostile
    assert root.find(f".//{SVG}script") is None
