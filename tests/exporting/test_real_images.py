"""The real CIFAR-10, where `$TOYNET_DATA` holds it: weights of Keras in, models out, on real images."""

import os
from dataclasses import replace
from pathlib import Path

import keras
import keras_automatic
import keras_reference
import numpy as np
import pytest
import torch

from toynet.augment.standardise import Standardiser
from toynet.core.errors import ToyNetError
from toynet.data import sources, splits
from toynet.data.spec import DataSpec
from toynet.exporting import keras_file, onnx_file, parity
from toynet.exporting.folding import fold
from toynet.exporting.origin import Probe
from toynet.models.catalog import build
from toynet.models.from_keras.load import load_keras
from toynet.models.spec import ModelSpec

pytestmark = pytest.mark.skipif("TOYNET_DATA" not in os.environ, reason="needs CIFAR-10 in $TOYNET_DATA")

WIDTHS = (16, 16, 24, 32)
BLOCKS = {"toynet14": [1, 2, 2, 1], "toynet18": [2, 2, 2, 2], "toynet34": [3, 4, 6, 3]}
BLOCKS |= {"pure_resnet18": [2, 2, 2, 2], "pure_resnet50": [3, 4, 6, 3]}


@pytest.fixture(scope="module")
def cifar():
    """A validation part of CIFAR-10, its mean and its deviation."""
    try:
        dataset = sources.load(DataSpec(), Path(os.environ["TOYNET_DATA"]))
    except (KeyError, ToyNetError) as error:
        pytest.skip(f"no CIFAR-10 in $TOYNET_DATA: {error}")
    parts = splits.split(dataset, DataSpec())
    return parts.val, *splits.channel_statistics(parts.train)


@pytest.mark.parametrize("file", ["m.keras", "m.weights.h5"])
@pytest.mark.parametrize("name", BLOCKS)
def test_weights_of_keras_answer_alike_on_real_images(name, file, cifar, tmp_path):
    val, mean, std = cifar
    keras.utils.set_random_seed(3)
    if name.startswith("toynet"):
        reference = keras_automatic.toynet(WIDTHS, BLOCKS[name], softmax=False)
    else:
        reference = keras_automatic.pure_resnet(WIDTHS, BLOCKS[name], bottleneck=name.endswith("50"))
    keras_reference.randomise(reference, seed=5)
    save = reference.save if file == "m.keras" else reference.save_weights
    save(tmp_path / file)
    model = build(ModelSpec(name=name, widths=WIDTHS), classes=10, image_shape=(32, 32, 3), seed=1).eval()
    load_keras(model, tmp_path / file, name)
    pixels = val.images[:256]
    images = Standardiser.of(mean, std, width=32, device="cpu")(torch.from_numpy(pixels))
    with torch.no_grad():
        expected = reference(images.permute(0, 2, 3, 1), training=False)
        found = model(images)
    assert expected.std() > 0.01
    assert float((found - expected).abs().max()) < 1e-4


@pytest.mark.parametrize("name", ["pre", "pure_resnet50"])
def test_exports_answer_alike_on_real_images(name, cifar, variant, tmp_path):
    val, mean, std = cifar
    origin = variant(name)
    card = origin.card.model_copy(update={"mean": tuple(mean.tolist()), "std": tuple(std.tolist())})
    origin = replace(origin, card=card, probe=Probe("CIFAR-10", val.images[:512], val.labels[:512], None))
    onnx_file.write(tmp_path / "m.onnx", fold(origin.model).model, origin, preprocessing="inside", opset=20)
    keras_file.write(tmp_path / "m.keras", origin, "inside")
    limits = {
        1e-3: onnx_file.read(tmp_path / "m.onnx", origin, "inside"),
        1e-4: keras_file.read(tmp_path / "m.keras", origin, "inside"),
    }
    for limit, exported in limits.items():
        found = parity.check(origin, exported, limit=limit)
        assert found.images == 512
        assert np.isfinite(found.max_difference)
