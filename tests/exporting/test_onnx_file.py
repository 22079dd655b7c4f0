"""ONNX files asked by onnxruntime alone, as whoever receives them would ask."""

import json
import tomllib

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import toynet
from toynet.core.errors import UsageError
from toynet.exporting import onnx_file
from toynet.exporting.folding import fold


def ask(path, images):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(["logits", "probabilities"], {"images": images})


def by_hand(origin, images):
    """Standardised in float64 by NumPy, then through the torch model."""
    standard = (images.astype(np.float64) - origin.card.mean) / np.array(origin.card.std)
    with torch.no_grad():
        return origin.model(torch.from_numpy(standard.transpose(0, 3, 1, 2)).float()).numpy()


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("pre-conv_bn-dropout", 32),
        ("post-pool", 33),
        ("relu_bn-flatten", 32),
        ("pure_resnet50", 32),
        ("speednet", 32),
    ],
)
def test_every_kind_of_network(name, side, variant, tmp_path):
    origin = variant(name, side)
    path = tmp_path / "m.onnx"
    onnx_file.write(path, fold(origin.model).model, origin, preprocessing="inside", opset=18)
    images = origin.probe.images
    expected = by_hand(origin, images)
    assert expected.std() > 0.01
    for count in (1, 3, len(images)):
        logits, probabilities = ask(path, images[:count])
        np.testing.assert_allclose(logits, expected[:count], rtol=0, atol=1e-4)
        tempered = torch.from_numpy(expected[:count]) / origin.temperature
        np.testing.assert_allclose(probabilities, tempered.softmax(1), atol=1e-5)


def test_a_run_with_its_preprocessing_inside(run, here):
    found = toynet.export(run, output=here / "m.onnx", temperature=2.0)
    assert [file.rpartition("/")[2] for file in found.files] == ["m.onnx", "m.onnx.md"]
    assert found.parity.max_difference < 1e-4
    assert set(found.parity.batch_sizes) >= {1, 7}
    model = onnx.load("m.onnx")
    onnx.checker.check_model(model, full_check=True)
    kept = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(kept["classes"]) == list(run.folder.card().classes)
    assert tomllib.loads(kept["recipe"])["model"]["widths"] == [4, 8, 8, 8]
    assert float(kept["val_accuracy"]) == pytest.approx(run.result.val_accuracy, abs=5e-5)
    assert float(kept["test_accuracy"]) == pytest.approx(run.result.test_accuracy, abs=5e-5)
    assert kept["temperature"] == "2.0"
    assert kept["preprocessing"].startswith("inside: RGB")
    content = (here / "m.onnx").read_bytes()
    assert b"site-packages" not in content
    assert b".py" not in content
    # The run's own logits, which it left behind when it ended, and its own images.
    predicted = run.folder.predictions()
    logits, _ = ask("m.onnx", predicted["gallery_images"])
    expected = predicted["test_logits"][predicted["gallery_rows"]]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)


def test_a_run_with_its_preprocessing_beside(run, here):
    found = toynet.export(run, output="m.onnx", preprocessing="beside")
    table = json.loads((here / "m.onnx.preprocessing.json").read_text())
    assert found.preprocessing == "beside"
    assert table["size"] == [32, 32]
    predicted = run.folder.predictions()
    images = (predicted["gallery_images"] - np.array(table["mean"])) / np.array(table["std"])
    logits, probabilities = ask("m.onnx", images.transpose(0, 3, 1, 2).astype("float32"))
    expected = predicted["test_logits"][predicted["gallery_rows"]]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize(("opset", "told"), [(10, "least supported opset is 18"), (99, "greatest is")])
def test_opsets_that_there_are_not(opset, told, run, here):
    with pytest.raises(UsageError, match=told):
        toynet.export(run, opset=opset)
    assert list(here.iterdir()) == []


def test_the_greatest_opset_is_one_that_onnxruntime_reads(variant, tmp_path):
    origin = variant("post-pool")
    path = tmp_path / "m.onnx"
    onnx_file.write(
        path, fold(origin.model).model, origin, preprocessing="inside", opset=onnx_file.GREATEST_OPSET
    )
    assert onnx.load(path).opset_import[0].version == onnx_file.GREATEST_OPSET
    logits, _ = ask(path, origin.probe.images[:2])
    np.testing.assert_allclose(logits, by_hand(origin, origin.probe.images[:2]), rtol=0, atol=1e-4)
