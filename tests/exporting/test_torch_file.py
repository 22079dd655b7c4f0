import numpy as np
import pytest
import safetensors.torch
import torch

import toynet
from toynet.core.errors import CheckpointError
from toynet.exporting import torch_file


@pytest.mark.parametrize("name", ["pre-conv_bn-dropout", "pure_resnet50", "speednet"])
def test_every_bit_comes_back(name, variant, tmp_path):
    origin = variant(name)
    torch_file.write(tmp_path / "m.safetensors", origin)
    model, packed = torch_file.load(tmp_path / "m.safetensors")
    assert packed.classes == origin.card.classes
    assert packed.temperature == 1.7
    assert not model.training
    for key, value in origin.model.state_dict().items():
        assert torch.equal(value, model.state_dict()[key]), key


def test_a_run_and_what_it_must_know(run, here):
    found = toynet.export(run, "torch", "m.safetensors")
    assert found.parity.max_difference == 0
    model, packed = torch_file.load(here / "m.safetensors")
    predicted = run.folder.predictions()
    standard = (predicted["gallery_images"] - np.array(packed.mean)) / np.array(packed.std)
    with torch.no_grad():
        logits = model(torch.from_numpy(standard.transpose(0, 3, 1, 2)).float())
    expected = predicted["test_logits"][predicted["gallery_rows"]]
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)
    assert packed.val_accuracy == run.result.val_accuracy


def test_an_exported_file_classifies_as_its_run_does(run, here):
    toynet.export(run, "torch", "m.safetensors")
    kept, original = toynet.load("m.safetensors"), toynet.load(run)
    assert kept.temperature == original.temperature
    pictures = run.folder.predictions()["gallery_images"]
    np.testing.assert_allclose(kept.probabilities(pictures), original.probabilities(pictures), atol=1e-5)
    np.testing.assert_allclose(kept.explain(pictures), original.explain(pictures), atol=1e-4)


def test_files_that_are_damaged_or_of_others(variant, tmp_path):
    origin = variant("pre")
    path = tmp_path / "m.safetensors"
    torch_file.write(path, origin)
    whole = path.read_bytes()
    for content in (b"", whole[:100], whole[: len(whole) // 2], b"PK\x03\x04" + bytes(50)):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="no whole safetensors file"):
            torch_file.load(path)
    safetensors.torch.save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match="not written by toynet export"):
        torch_file.load(path)
    tensors = {"head.dense.bias": torch.zeros(3)}
    torch_file.write(path, origin)
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
    safetensors.torch.save_file(tensors, path, metadata)
    with pytest.raises(CheckpointError, match=r"damaged: .* its model needs"):
        torch_file.load(path)
    safetensors.torch.save_file(tensors, path, {"toynet": "{"})
    with pytest.raises(CheckpointError, match="damaged"):
        torch_file.load(path)
