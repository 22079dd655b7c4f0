"""A run's model back from the disk, asked about arrays, Pillow images, files and streams."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import toynet
from toynet.core.errors import CheckpointError, DataError
from toynet.data.glyphs import glyphs
from toynet.evaluation.calibration import fit_temperature
from toynet.runs.classifier import Classifier, load_classifier
from toynet.runs.folder import RunFolder

TINY = {"model.widths": [4, 8, 8, 8], "train.epochs": 1, "schedule.warmup_epochs": 0}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    root = tmp_path_factory.mktemp("runs")
    return toynet.train("quick", data="glyphs:400", name="one", overrides=TINY, root=root).folder


@pytest.fixture(scope="module")
def classifier(run: RunFolder) -> Classifier:
    return load_classifier(run)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return glyphs(400).test.images


def test_the_best_weights_have_a_temperature_only_where_they_are_the_last(
    run: RunFolder, tmp_path: Path
) -> None:
    assert load_classifier(run, "best").temperature == load_classifier(run).temperature
    earlier = RunFolder(tmp_path / "one")
    shutil.copytree(run.path, earlier.path)
    sealed = json.loads((run.path / "result.json").read_text())
    (earlier.path / "result.json").write_text(json.dumps(sealed | {"epochs": 2}))
    assert load_classifier(earlier, "best").temperature is None
    assert load_classifier(earlier).temperature is not None


def test_a_finished_run_whose_last_weights_are_damaged_is_told(tmp_path: Path) -> None:
    wanted = {**TINY, "train.epochs": 3, "train.checkpoint_every": 1}
    run = toynet.train("quick", data="glyphs:400", name="one", overrides=wanted, root=tmp_path).folder
    file = run.checkpoints / "epoch-0003" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"epoch-0003.* take the best by --checkpoint best"):
        load_classifier(run)
    (run.path / "result.json").unlink()
    load_classifier(run)  # as far as it got


def test_its_probabilities_are_those_of_the_runs_own_predictions(run, classifier, images) -> None:
    arrays = run.predictions()
    temperature = fit_temperature(arrays["val_logits"], arrays["val_labels"])
    assert classifier.temperature == temperature
    expected = torch.softmax(torch.from_numpy(arrays["test_logits"]) / temperature, 1).numpy()
    np.testing.assert_allclose(classifier.probabilities(images), expected, atol=1e-5)


def test_every_kind_of_picture_gives_the_same_answer(classifier, images, tmp_path: Path) -> None:
    picture = Image.fromarray(images[0])
    file = tmp_path / "glyph.png"
    picture.save(file)
    stream = io.BytesIO(file.read_bytes())
    kinds = [images[0], picture, file, str(file), stream]
    found = classifier.predict_many(kinds)
    for one in found:
        np.testing.assert_allclose(one.probabilities, found[0].probabilities, atol=1e-6)
    assert found[0].label == found[0].top(1)[0].label
    assert classifier.predict_many([]) == []


def test_the_top_is_in_order_and_ties_keep_the_order_of_classes(classifier) -> None:
    flat = toynet.Prediction(("a", "b", "c"), np.array([0.2, 0.4, 0.4], np.float32))
    assert [guess.label for guess in flat.top()] == ["b", "c", "a"]
    assert flat.label == "b"
    assert len(classifier.predict(np.zeros((32, 32, 3), np.uint8)).top(99)) == 10


def test_a_larger_picture_is_cropped_and_resized_as_a_folder_of_images_is(classifier) -> None:
    tall = np.zeros((120, 64, 3), np.uint8)
    tall[28:92] = (10, 200, 30)
    assert (classifier.read(tall)[1:-1] == (10, 200, 30)).all()


def test_arrays_that_are_no_pictures_are_refused(classifier) -> None:
    for odd in (np.zeros((32, 32, 3)), np.zeros((32, 32, 4), np.uint8), np.zeros(9, np.uint8)):
        with pytest.raises(DataError, match="an array must be uint8"):
            classifier.read(odd)


def test_a_gray_model_takes_colour_by_its_luma(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "gray"
    for part in ("train", "test"):
        for name in "ab":
            (folder / part / name).mkdir(parents=True)
            for number in range(12):
                Image.fromarray(rng.integers(0, 256, (32, 32), np.uint8)).save(
                    folder / part / name / f"{number}.png"
                )
    run = toynet.train(
        "quick", data=f"folder:{folder}", overrides=TINY | {"train.batch_size": 8}, root=tmp_path / "r"
    )
    classifier = toynet.load(run)
    assert classifier.image_shape == (32, 32, 1)
    colour = Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8))
    expected = np.asarray(colour.convert("L"), int)
    assert np.abs(classifier.read(colour)[..., 0].astype(int) - expected).max() <= 1
    level = np.full((32, 32), 77, np.uint8)
    assert (classifier.read(level) == 77).all()


def test_explanations_default_to_the_answer(classifier, images) -> None:
    few = images[:4]
    answers = classifier.probabilities(few).argmax(1)
    np.testing.assert_array_equal(classifier.explain(few), classifier.explain(few, answers))


def test_a_run_without_a_model_says_so(tmp_path: Path, run) -> None:
    shutil.copytree(run.path, tmp_path / "bare", ignore=shutil.ignore_patterns("checkpoints"))
    with pytest.raises(CheckpointError, match="no checkpoint in"):
        toynet.load(tmp_path / "bare")


def test_without_validation_logits_nothing_is_divided(tmp_path: Path, run) -> None:
    shutil.copytree(run.path, tmp_path / "unscored", ignore=shutil.ignore_patterns("predictions.npz"))
    assert toynet.load(tmp_path / "unscored").temperature is None
