from pathlib import Path

import pytest

import toynet
from toynet.core.errors import UsageError


def test_everything_promised_is_there():
    for name in toynet.__all__:
        assert getattr(toynet, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        toynet.trian  # noqa: B018


def test_architectures_and_recipes_are_told():
    assert toynet.architectures()["toynet14"].parameters == 6_383_050
    assert {"quick", "default", "report/toynet20_init"} <= toynet.recipes().keys()


def test_one_architecture_is_told_layer_by_layer_and_drawn(tmp_path: Path):
    narrow = {"model.widths": [16, 32, 64, 128]}
    found = toynet.architecture("toynet14", overrides=narrow, diagram=tmp_path / "net.svg")
    assert found.parameters == sum(layer.parameters for layer in found.layers) < 6_383_050
    assert (tmp_path / "net.svg").read_text().startswith("<svg")
    with pytest.raises(UsageError, match=r"optim\.lr: only model\.\* settings shape a model"):
        toynet.architecture("toynet14", overrides={"optim.lr": 1})
    with pytest.raises(UsageError, match="channels 2: images have 1 channel or 3"):
        toynet.architecture("toynet14", image_shape=(32, 32, 2))
    with pytest.raises(UsageError, match=r"net\.png: the drawing is an SVG"):
        toynet.architecture("toynet14", diagram="net.png")
