"""The verb: what it leaves, what it refuses, and that its card tells the truth."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import toynet
from toynet.core.errors import CheckpointError, ToyNetError, UsageError
from toynet.core.reporter import Silent
from toynet.exporting import parity
from toynet.exporting.export import LIMITS
from toynet.runs import subject
from toynet.runs.folder import RunFolder

TOYNET = str(Path(sys.executable).with_name("toynet"))


def toynet_export(run: toynet.Run, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [TOYNET, "export", str(run.path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize(
    ("kind", "file"), [("onnx", "tiny.onnx"), ("torch", "tiny.safetensors"), ("keras", "tiny.keras")]
)
def test_the_cards_three_lines_run(kind, file, run, here):
    toynet.export(run, kind)
    card = (here / f"{file}.md").read_text()
    code = re.search(r"```python\n(.*?)\n```", card, re.DOTALL).group(1)
    assert code.count("\n") == 2
    check = "\nassert abs(probabilities.sum() - 1) < 1e-5"
    quiet = "import os; os.environ['KERAS_BACKEND'] = 'torch'\n"
    subprocess.run([sys.executable, "-W", "ignore", "-c", quiet + code + check], check=True, timeout=120)
    result = run.result
    assert f"{100 * result.val_accuracy:.2f} %" in card
    assert f"{100 * result.test_accuracy:.2f} %" in card
    assert "one seed" in card
    assert str(run.path.parent) not in card


def test_int8_is_scored_and_timed_as_stated(run, here):
    done = toynet_export(run, "--int8", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    int8 = told["int8"]
    data = subject.read(run.folder.recipe(), None, Silent())
    session = onnxruntime.InferenceSession(str(here / "tiny.int8.onnx"), providers=["CPUExecutionProvider"])
    logits, _ = session.run(None, {"images": data.split.val.images[:]})
    accuracy = float((logits.argmax(1) == data.split.val.labels).mean())
    assert int8["accuracy"] == pytest.approx(accuracy)
    assert int8["images_per_s"] > 0
    assert int8["verdict"] in (here / "tiny.onnx.md").read_text()
    slower = int8["images_per_s"] < int8["float32_images_per_s"]
    assert ("slower than float32" in int8["verdict"]) == slower


def test_files_are_not_overwritten_unless_asked(run, here):
    first = toynet.export(run, "torch")
    with pytest.raises(UsageError, match=r"tiny\.safetensors exists; .* --force"):
        toynet.export(run, "torch")
    assert toynet.export(run, "torch", force=True) == first
    assert sorted(entry.name for entry in here.iterdir()) == ["tiny.safetensors", "tiny.safetensors.md"]


def test_overwriting_removes_what_was_the_old_exports_and_nothing_else(run, here):
    toynet.export(run, "onnx", int8=True)
    toynet.export(run, "keras", preprocessing="beside")
    toynet.export(run, "keras", force=True)
    left = {entry.name for entry in here.iterdir()}
    assert left == {"tiny.onnx", "tiny.onnx.md", "tiny.int8.onnx", "tiny.keras", "tiny.keras.md"}
    toynet.export(run, "onnx", force=True)
    assert {entry.name for entry in here.iterdir()} == left - {"tiny.int8.onnx"}


def test_a_model_that_answers_differently_is_refused_and_removed(run, here, origin, monkeypatch):
    with pytest.raises(ToyNetError, match=r"differ from the original's by 0\.00[12]\d*, more than 0\.001"):
        parity.check(origin, lambda images: origin.logits(images) + np.float32(2e-3), limit=1e-3)
    with pytest.raises(ToyNetError, match="differ from the original's by inf"):
        parity.check(origin, lambda images: origin.logits(images) * np.float32("nan"), limit=1e-3)
    monkeypatch.setitem(LIMITS, "torch", -1.0)
    with pytest.raises(ToyNetError, match="nothing was kept"):
        toynet.export(run, "torch")
    assert list(here.iterdir()) == []


def test_without_its_data_a_run_is_checked_on_gallery_and_noise(run, here):
    path = here / "moved"
    shutil.copytree(run.path, path)
    recipe = (path / "recipe.toml").read_text().replace("glyphs:400", "folder:gone")
    (path / "recipe.toml").write_text(recipe)
    found = toynet.export(RunFolder(path).path, "torch")
    assert found.parity.source.startswith("images of the run's gallery and noise")
    assert found.accuracy is None
    with pytest.raises(ToyNetError, match="--int8 needs the run's training images"):
        toynet.export(path, "onnx", int8=True)
    assert not (here / "moved.onnx").exists()
    assert "gone" not in (here / "moved.safetensors.md").read_text()


def test_runs_that_cannot_be_exported(run, here):
    with pytest.raises(UsageError, match=r"there is no run tyni in .*; did you mean tiny"):
        toynet.export("tyni", root=run.path.parent)
    broken = here / "broken"
    shutil.copytree(run.path, broken)
    shutil.rmtree(broken / "checkpoints")
    with pytest.raises(CheckpointError, match="no checkpoint in"):
        toynet.export(broken)
    (broken / "result.json").unlink()
    with pytest.raises(ToyNetError, match="broken is not finished; go on with toynet train --resume"):
        toynet.export(broken)
    sealed = json.loads((run.path / "result.json").read_text())
    (broken / "result.json").write_text(json.dumps({**sealed, "status": "diverged", "reason": "loss is nan"}))
    with pytest.raises(ToyNetError, match=r"diverged \(loss is nan\)"):
        toynet.export(broken)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"format": "keras", "int8": True}, "--int8 is for --format onnx"),
        ({"format": "torch", "opset": 18}, "--opset is for --format onnx"),
        ({"format": "torch", "preprocessing": "beside"}, "weights only"),
        ({"output": "model.pb"}, "ends in .onnx"),
        ({"output": "no/where/model.onnx"}, "does not exist"),
        ({"format": "tflite"}, "choose onnx, torch or keras"),
        ({"temperature": 0.0}, "temperature must be above 0"),
    ],
)
def test_requests_that_make_no_sense(options, told, run, here):
    with pytest.raises(UsageError, match=re.escape(told)):
        toynet.export(run, **options)
    assert list(here.iterdir()) == []


def test_an_old_opset_on_the_command_line_is_one_line(run, here):
    done = toynet_export(run, "--opset", "9")
    assert done.returncode == 2
    assert done.stderr == "error: opset 9 is too old: the least supported opset is 18\n"


@pytest.mark.parametrize(
    ("kind", "package", "extra"), [("onnx", "onnx", "export"), ("keras", "keras", "keras")]
)
def test_extras_that_are_not_installed(kind, package, extra, run, here, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ToyNetError, match=rf"needs {package}, .* pip install 'toynet-lab\[{extra}\]'"):
        toynet.export(run, kind)
    assert list(here.iterdir()) == []
