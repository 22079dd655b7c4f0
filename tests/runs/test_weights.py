"""Runs that start from weights of Keras, and scores of such weights, against Keras' own answers."""

import json
import shutil

import keras
import keras_automatic
import keras_reference
import numpy as np
import pytest
import torch

import toynet
from toynet.core.errors import CheckpointError, UsageError
from toynet.core.reporter import Silent
from toynet.evaluation import metrics
from toynet.runs import subject, weights
from toynet.runs.recipe import Recipe

WIDTHS = (4, 8, 8, 12)
TINY = {
    "data.name": "glyphs:240",
    "model.name": "toynet12",
    "model.widths": list(WIDTHS),
    "train.epochs": 1,
    "train.batch_size": 40,
    "train.precision": "fp32",
    "train.kernels": "direct",
    "train.memory_format": "channels_last",
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A Keras model with weights worth comparing, and two files of it."""
    keras.utils.set_random_seed(3)
    model = keras_automatic.toynet(WIDTHS, [1, 1, 2, 1], softmax=False)
    keras_reference.randomise(model, seed=5)
    folder = tmp_path_factory.mktemp("keras")
    model.save(folder / "m.keras")
    model.save_weights(folder / "m.weights.h5")
    return model, folder


def recipe(**changes):
    return Recipe.load("quick", {**TINY, **changes})


@pytest.mark.parametrize("file", ["m.keras", "m.weights.h5"])
def test_scores_are_those_of_keras_on_the_same_images(file, saved, tmp_path):
    model, folder = saved
    found = toynet.evaluate("quick", weights=folder / file, overrides=TINY, root=tmp_path)
    about = subject.read(recipe(), None, Silent())
    standard = (about.split.val.images[:] - np.array(about.card.mean)) / np.array(about.card.std)
    with torch.no_grad():
        logits = model(torch.from_numpy(standard).float(), training=False).numpy()
    expected = metrics.measure(logits, about.split.val.labels)
    assert found.scores.accuracy == expected.accuracy
    assert found.scores.loss == pytest.approx(expected.loss, abs=1e-4)
    assert not (tmp_path / "test-reads.jsonl").exists()


def test_a_run_starts_from_them_and_its_identity_is_their_content(saved, tmp_path):
    model, folder = saved
    copied = tmp_path / "elsewhere.h5"
    shutil.copy(folder / "m.weights.h5", copied)
    first = toynet.train("quick", weights=folder / "m.weights.h5", name="a", overrides=TINY, root=tmp_path)
    stored = first.folder.recipe()
    about = subject.read(stored, None, Silent())
    started = subject.first_model(stored, about, "cpu")
    np.testing.assert_array_equal(
        started.head.dense.bias.detach().numpy(), keras_reference.array(model.layers[-1].bias)
    )
    plain = toynet.train("quick", name="b", overrides=TINY, root=tmp_path)
    assert first.folder.metrics()[0].train_loss != plain.folder.metrics()[0].train_loss
    assert plain.folder.recipe().model.weights_sha256 is None
    moved = weights.pin(stored.with_changes({"model.weights": str(copied)}))
    other = weights.pin(recipe(**{"model.weights": str(folder / "m.keras")}))
    digest = about.card.digest
    assert moved.identity(digest) == stored.identity(digest) == first.result.identity
    assert len({one.identity(digest) for one in (stored, other, plain.folder.recipe())}) == 3
    # The run is scored by name too, and nothing of it changes.
    before = (first.path / "result.json").read_bytes()
    again = toynet.evaluate(first, weights=copied)
    assert again.scores.n == about.card.val_images
    assert (first.path / "result.json").read_bytes() == before


def test_resume_needs_the_file_only_where_there_is_no_checkpoint(saved, tmp_path):
    _, folder = saved
    file = tmp_path / "w.h5"
    shutil.copy(folder / "m.weights.h5", file)
    run = toynet.train("quick", weights=file, name="a", overrides=TINY, root=tmp_path)
    logits = run.folder.predictions()["val_logits"]
    (run.path / "result.json").unlink()
    shutil.copy(folder / "m.keras", file)
    again = toynet.train("quick", name="a", resume=True, overrides=TINY, root=tmp_path)
    np.testing.assert_array_equal(again.folder.predictions()["val_logits"], logits)
    (run.path / "result.json").unlink()
    with pytest.raises(UsageError, match=r"was begun with model.weights_sha256"):
        toynet.train("quick", name="a", resume=True, weights=file, root=tmp_path)
    shutil.rmtree(run.path / "checkpoints")
    with pytest.raises(CheckpointError, match=r"w\.h5 is not the file that this recipe starts from"):
        toynet.train("quick", name="a", resume=True, root=tmp_path)


def test_weights_that_do_not_fit_are_refused_before_anything_is_made(saved, tmp_path):
    _, folder = saved
    root = tmp_path / "runs"
    with pytest.raises(CheckpointError, match=r"layer \S+ has kernel .* needs"):
        toynet.train(
            "quick",
            weights=folder / "m.weights.h5",
            name="a",
            overrides={**TINY, "model.widths": [4, 8, 16, 12]},
            root=root,
        )
    with pytest.raises(UsageError, match="there is no file"):
        toynet.train("quick", weights="gone.h5", name="a", overrides=TINY, root=root)
    assert not root.exists()


def test_what_cannot_be_scored(saved, tmp_path):
    _, folder = saved
    with pytest.raises(UsageError, match=r"no run nope .* and no recipe of that name"):
        toynet.evaluate("nope", weights=folder / "m.keras", root=tmp_path)
    with pytest.raises(UsageError, match="overrides go with weights"):
        toynet.evaluate("nope", overrides={"data.size": 32}, root=tmp_path)
    with pytest.raises(UsageError, match="weights_sha256 names the content"):
        weights.pin(recipe(**{"model.weights_sha256": "0" * 64}))


def test_reads_of_test_images_are_counted_where_runs_lie(saved, tmp_path):
    _, folder = saved
    found = toynet.evaluate("quick", "test", weights=folder / "m.keras", overrides=TINY, root=tmp_path)
    (line,) = (tmp_path / "test-reads.jsonl").read_text().splitlines()
    assert found.test_reads == 1
    assert json.loads(line)["run"] == "quick"


def test_identities_of_recipes_without_weights_are_what_they_were():
    """The digest that the commit before `model.weights` gave."""
    assert Recipe.load("quick").identity("images") == (
        "deea21f5b591acc9c5aea329aefadc900ff2bf77a7f6f74868c9fa4ada84b2b7"
    )
