"""`.keras` files in Keras itself, and back again."""

import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
import torch

import toynet
from toynet.exporting import keras_file, parity
from toynet.models.catalog import build
from toynet.models.from_keras.load import load_keras


@pytest.mark.parametrize("preprocessing", ["inside", "beside"])
@pytest.mark.parametrize(
    "name",
    ["pre", "pre-conv_bn-dropout", "post-pool", "relu_bn-flatten", "pure_resnet50", "speednet"],
)
def test_every_kind_of_network_there_and_back(name, preprocessing, variant, tmp_path):
    origin = variant(name)
    path = tmp_path / "m.keras"
    keras_file.write(path, origin, preprocessing)
    found = parity.check(origin, keras_file.read(path, origin, preprocessing), limit=1e-4)
    assert found.max_difference < 1e-4
    assert found.images == len(origin.probe.images)
    again = build(origin.recipe.model, classes=10, image_shape=(32, 32, 3), seed=5)
    notes = load_keras(again, path, "again")
    # The layer of the temperature, behind the network, scales no image.
    assert [("layer scale;" in note) for note in notes] == [True] * (preprocessing == "inside")
    ours, theirs = origin.model.state_dict(), again.state_dict()
    for key in ours:
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(ours[key], theirs[key]), key


def test_odd_sides_are_pooled_alike(variant, tmp_path):
    origin = variant("post-pool", side=33)
    keras_file.write(tmp_path / "m.keras", origin, "inside")
    parity.check(origin, keras_file.read(tmp_path / "m.keras", origin, "inside"), limit=1e-4)


def test_plain_keras_loads_it_without_toynet_and_goes_on_training(run, here):
    toynet.export(run, "keras", here / "m.keras", temperature=1.5)
    predicted = run.folder.predictions()
    np.save("images.npy", predicted["gallery_images"])
    code = """
import sys
sys.modules["toynet"] = None
import numpy, keras
model = keras.saving.load_model("m.keras")
numpy.save("answer.npy", model.predict(numpy.load("images.npy"), verbose=0)["logits"])
assert {type(layer).__module__.partition(".")[0] for layer in model.layers} == {"keras"}
assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [0.2]
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, timeout=120)
    expected = predicted["test_logits"][predicted["gallery_rows"]]
    np.testing.assert_allclose(np.load("answer.npy"), expected, rtol=0, atol=1e-4)


def test_the_archive_tells_what_keras_has_no_place_for(run, here):
    toynet.export(run, "keras", "m.keras")
    with zipfile.ZipFile(here / "m.keras") as archive:
        assert archive.testzip() is None
        assert b'"classes"' in archive.read("toynet.json")
    assert keras.saving.load_model("m.keras", compile=False).name == "toynet12"
