"""A user's own pictures, from files to a finished run: as from arrays, uneven classes, other sizes."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from notes import Notes
from PIL import Image

import toynet
from toynet.core.errors import DataError, UsageError
from toynet.core.reporter import Silent
from toynet.data.glyphs import glyphs
from toynet.runs import subject
from toynet.runs.recipe import Recipe

TINY = {
    "model.widths": [16, 16, 16, 16],
    "train.epochs": 2,
    "train.batch_size": 40,
    "train.precision": "fp32",
    "train.kernels": "direct",
    "train.memory_format": "channels_last",
}
RESULTS = Path(__file__).parents[2] / "results"
KEPT = (40, 8, 20)
"""Training images of each class that are written."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of glyphs as PNG files, and the same as arrays beside them."""
    root, drawn = tmp_path_factory.mktemp("own"), glyphs(720)
    arrays: dict[str, np.ndarray] = {"classes": np.array(["0", "1", "2"])}
    for part, images in (("train", drawn.train), ("test", drawn.test)):
        rows = [np.flatnonzero(images.labels == label)[: KEPT[label]] for label in range(3)]
        for label, chosen in enumerate(rows):
            folder = root / "files" / part / str(label)
            folder.mkdir(parents=True)
            for row in chosen:
                Image.fromarray(images.images[row]).save(folder / f"{row:04}.png")
        together = np.concatenate(rows)
        arrays |= {f"x_{part}": images.images[together], f"y_{part}": images.labels[together]}
    np.savez(root / "arrays.npz", **arrays)
    return root


def train(data: str, root: Path, name: str, notes: Notes | None = None, **changes: object) -> toynet.Run:
    return toynet.train(
        "default", data=data, name=name, overrides={**TINY, **changes}, root=root, reporter=notes
    )


def logits(run: toynet.Run) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in run.folder.predictions().items()}


def test_files_train_exactly_as_the_same_images_in_memory(pictures: Path, tmp_path: Path) -> None:
    files, arrays = (
        train(f"folder:{pictures / 'files'}", tmp_path, "files"),
        train(f"npz:{pictures / 'arrays.npz'}", tmp_path, "arrays"),
    )
    assert files.result is not None
    assert arrays.result is not None
    assert files.result.identity == arrays.result.identity
    assert logits(files) == logits(arrays)
    card = files.folder.card()
    assert (card.mean, card.std) == (arrays.folder.card().mean, arrays.folder.card().std)
    assert toynet.evaluate(files, "test").scores.accuracy == files.result.test_accuracy


@pytest.mark.parametrize(("size", "channels"), [(64, "auto"), (24, 1)])
def test_another_size_and_other_channels_reach_the_model(
    pictures: Path, tmp_path: Path, size: int, channels: str | int
) -> None:
    changes = {
        "data.size": size,
        "data.channels": channels,
        "augment.crop_pad_px": 8,
        "augment.flip": "random",
    }
    run = train(f"folder:{pictures / 'files'}", tmp_path, "sized", **changes)
    assert run.folder.card().image_shape == (size, size, 3 if channels == "auto" else 1)
    assert len(run.folder.card().mean) == (3 if channels == "auto" else 1)
    assert toynet.evaluate(run, "val").scores.n == run.folder.card().val_images


def test_arrays_take_the_channels_asked_for(pictures: Path, tmp_path: Path) -> None:
    gray = train(f"npz:{pictures / 'arrays.npz'}", tmp_path, "gray", **{"data.channels": 1})
    files = train(f"folder:{pictures / 'files'}", tmp_path, "files", **{"data.channels": 1})
    assert gray.folder.card().image_shape == (32, 32, 1)
    assert gray.folder.card().digest == files.folder.card().digest


def test_channels_are_one_or_three() -> None:
    for wrong in (2, True, "3", 1.0):
        with pytest.raises(UsageError, match=r"data\.channels"):
            Recipe.load("default", {"data.channels": wrong})


def test_uneven_classes_are_told_with_what_can_be_done(pictures: Path, tmp_path: Path) -> None:
    said = Notes()
    data = f"folder:{pictures / 'files'}"
    train(data, tmp_path, "plain", said)
    (line,) = [note for note in said.notes if note.startswith("classes are")]
    assert line.startswith(
        "classes are uneven: 0 has 5.1 times the training images of 1 (36 and 7); see --set"
    )
    for name, setting in (("loss", "loss.class_weights"), ("sampling", "train.sampling")):
        quiet = Notes()
        train(data, tmp_path, name, quiet, **{setting: "balanced"})
        (line,) = [note for note in quiet.notes if note.startswith("classes are")]
        assert "--set" not in line
    runs = [
        json.loads((tmp_path / name / "result.json").read_text()) for name in ("plain", "loss", "sampling")
    ]
    assert len({run["identity"] for run in runs}) == 3
    assert len({run["val_loss"] for run in runs}) == 3


@pytest.mark.parametrize(("epochs", "worth_a_note"), [(2, True), (149, True), (150, False)])
def test_few_steps_are_told_with_the_epochs_that_would_do(
    pictures: Path, epochs: int, worth_a_note: bool
) -> None:
    """61 images in batches of 40 make two steps an epoch, and 0.99^300 is less than a twentieth."""
    changes = {**TINY, "data.name": f"folder:{pictures / 'files'}", "train.epochs": epochs}
    recipe, said = Recipe.load("default", changes), Notes()
    subject.note_few_steps(recipe, subject.read(recipe, None, Silent()), said)
    assert [note.rpartition("; ")[2] for note in said.notes] == ["see --set train.epochs=150"] * worth_a_note


def test_a_run_of_few_steps_begins_with_that_note(pictures: Path, tmp_path: Path) -> None:
    said = Notes()
    train(f"folder:{pictures / 'files'}", tmp_path, "short", said)
    (line,) = [note for note in said.notes if note.startswith("few steps")]
    assert line.startswith("few steps: 2 epochs of 61 images make 4, too few")


def test_even_classes_are_not_worth_a_note(tmp_path: Path) -> None:
    said = Notes()
    toynet.train("default", data="glyphs:240", name="even", overrides=TINY, root=tmp_path, reporter=said)
    assert not [note for note in said.notes if note.startswith("classes are")]


def test_a_changed_folder_is_not_what_a_run_was_trained_on(pictures: Path, tmp_path: Path) -> None:
    run = train(f"folder:{pictures / 'files'}", tmp_path, "run")
    more = pictures / "files" / "train" / "1" / "more.png"
    Image.new("RGB", (32, 32), "red").save(more)
    try:
        with pytest.raises(toynet.ToyNetError, match="is not what run run was trained on"):
            toynet.evaluate(run, "val")
    finally:
        more.unlink()
    toynet.evaluate(run, "val")


def test_a_damaged_picture_ends_it_before_a_run_is_made(pictures: Path, tmp_path: Path) -> None:
    wrong = pictures / "files" / "train" / "1" / "wrong.png"
    wrong.write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    try:
        with pytest.raises(DataError, match=r"wrong\.png \(no image of a known format\)"):
            train(f"folder:{pictures / 'files'}", tmp_path, "never")
    finally:
        wrong.unlink()
    assert not (tmp_path / "never").exists()


def test_the_card_of_cifar10_is_what_earlier_runs_stored() -> None:
    """Digests, statistics and splits, bit for bit, from before splits held rows."""
    if not (Path(os.environ.get("TOYNET_DATA", "nowhere")) / "cifar-10-batches-bin").is_dir():
        pytest.skip("the real CIFAR-10 is needed: set TOYNET_DATA to the folder that holds it")
    stored = json.loads((RESULTS / "default" / "data.json").read_text())
    about = subject.read(Recipe.load("default"), None, Silent())
    if about.card.test_digest != stored["test_digest"]:
        pytest.skip("this CIFAR-10 holds its images in another order")
    assert json.loads(about.card.model_dump_json()) == stored
