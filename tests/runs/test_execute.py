"""Whole runs on a handful of built-in images, in real processes where signals and crashes are the point."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from notes import Notes
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import toynet
from toynet.core.errors import Diverged, ToyNetError, UsageError
from toynet.core.locks import folder_lock
from toynet.runs.execute import fresh_name
from toynet.runs.folder import RunFolder, check_name
from toynet.runs.reads import count_test_reads
from toynet.runs.recipe import Recipe

TINY = {
    "data.name": "glyphs:240",
    "model.name": "toynet12",
    "model.widths": [4, 8, 8, 8],
    "model.dropout": 0.2,
    "train.epochs": 4,
    "train.batch_size": 40,
    "train.checkpoint_every": 1,
    "train.ema": 0.9,
    "train.precision": "fp32",
    "train.kernels": "direct",
}


def train(root: Path, name: str, **changes: object) -> toynet.Run:
    return toynet.train("quick", name=name, overrides={**TINY, **changes}, root=root)


def history(path: Path) -> list[dict]:
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("elapsed_s", "images_per_s")} for line in lines]


def final_logits(path: Path) -> bytes:
    with np.load(path / "predictions.npz") as arrays:
        return arrays["test_logits"].tobytes() + arrays["val_logits"].tobytes()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> toynet.Run:
    return train(tmp_path_factory.mktemp("runs"), "whole")


def test_the_folder_holds_what_a_person_wants_to_know(finished: toynet.Run):
    names = {entry.name for entry in finished.path.iterdir()}
    assert names >= {
        "recipe.toml",
        "environment.json",
        "data.json",
        "metrics.jsonl",
        "tensorboard",
        "checkpoints",
        "predictions.npz",
        "activations.json",
        "figures",
        "result.json",
    }
    figures = {entry.name for entry in (finished.path / "figures").iterdir()}
    assert figures == {
        "curves.png",
        "curves.svg",
        "confusion.png",
        "per-class.png",
        "calibration.png",
        "gallery.png",
    }
    result = json.loads((finished.path / "result.json").read_text())
    assert result["status"] == "finished"
    assert (result["epochs"], result["seed"], result["recipe"]) == (4, 0, "quick")
    assert len(result["identity"]) == 64
    for key in (
        "val_accuracy",
        "val_loss",
        "test_accuracy",
        "test_loss",
        "train_s",
        "images_per_s",
        "parameters",
    ):
        assert result[key] > 0
    environment = json.loads((finished.path / "environment.json").read_text())
    assert environment["threads"] >= 1
    assert environment["packages"]["torch"]


def test_scores_agree_between_result_metrics_and_predictions(finished: toynet.Run):
    with np.load(finished.path / "predictions.npz") as arrays:
        accuracy = (arrays["test_logits"].argmax(1) == arrays["test_labels"]).mean()
        val = (arrays["val_logits"].argmax(1) == arrays["val_labels"]).mean()
        right = arrays["test_logits"].argmax(1) == arrays["test_labels"]
        rows = arrays["gallery_rows"]
    assert finished.result.test_accuracy == pytest.approx(accuracy)
    assert finished.result.val_accuracy == pytest.approx(val)
    assert history(finished.path)[-1]["val_accuracy"] == pytest.approx(val)
    assert sorted(right[rows].tolist()) == right[rows].tolist()  # the wrong ones first
    assert len(set(rows.tolist())) == len(rows)


def test_tensorboards_own_reader_finds_every_epoch(finished: toynet.Run):
    reader = EventAccumulator(str(finished.path / "tensorboard"), size_guidance={"histograms": 0})
    reader.Reload()
    lines = history(finished.path)
    for tag, field in {
        "accuracy/validation": "val_accuracy",
        "loss/train": "train_loss",
        "learning_rate": "lr",
    }.items():
        events = reader.Scalars(tag)
        assert [event.step for event in events] == [1, 2, 3, 4]
        assert [event.value for event in events] == pytest.approx([line[field] for line in lines], rel=1e-6)
    histograms = reader.Tags()["histograms"]
    assert any("stem" in tag for tag in histograms)
    assert [event.step for event in reader.Histograms(histograms[0])] == [1, 2, 3, 4]


def test_the_same_recipe_and_seed_are_bit_identical(finished: toynet.Run):
    again = train(finished.path.parent, "again")
    assert final_logits(again.path) == final_logits(finished.path)
    assert history(again.path) == history(finished.path)
    assert again.result.identity == finished.result.identity
    other = train(finished.path.parent, "other", **{"train.seed": 1})
    assert final_logits(other.path) != final_logits(finished.path)
    assert other.result.identity != finished.result.identity


def test_every_read_of_the_test_images_is_counted(finished: toynet.Run):
    root, digest = finished.path.parent, finished.folder.card().test_digest
    before = count_test_reads(root, digest)
    found = toynet.evaluate(finished, "test")
    assert found.test_reads == before + 1 == count_test_reads(root, digest)
    assert found.scores.accuracy == pytest.approx(finished.result.test_accuracy)
    assert toynet.evaluate(finished, "val").scores.accuracy == pytest.approx(finished.result.val_accuracy)
    assert count_test_reads(root, digest) == before + 1


def test_diagnose_reads_a_run(finished: toynet.Run):
    findings = toynet.diagnose(finished)
    assert findings
    assert all(finding.evidence for finding in findings)


START = (
    "import json, sys; from pathlib import Path; import toynet;"
    "toynet.train('quick', name=sys.argv[1], root=Path(sys.argv[2]), overrides=json.loads(sys.argv[3]),"
    "resume=sys.argv[4] == 'resume')"
)


def start(root: Path, name: str, mode: str = "new") -> subprocess.Popen[str]:
    overrides = {} if mode == "resume" else TINY
    command = [sys.executable, "-c", START, name, str(root), json.dumps(overrides), mode]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(("kind", "epochs"), [(signal.SIGKILL, 1), (signal.SIGKILL, 3), (signal.SIGTERM, 2)])
def test_a_run_that_is_really_killed_resumes_to_the_same_end(
    finished: toynet.Run, tmp_path: Path, kind: signal.Signals, epochs: int
):
    process = start(tmp_path, "killed")
    metrics = tmp_path / "killed" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (metrics.exists() and metrics.read_text().count("\n") >= epochs):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)
    os.kill(process.pid, kind)
    process.communicate()
    assert not (tmp_path / "killed" / "result.json").exists()
    resumed = toynet.train("quick", name="killed", root=tmp_path, resume=True)
    assert resumed.result.status == "finished"
    assert final_logits(resumed.path) == final_logits(finished.path)
    assert history(resumed.path) == history(finished.path)


def test_resume_finds_the_newest_unfinished_run_and_refuses_other_settings(tmp_path: Path):
    process = start(tmp_path, "stopped")
    while not (tmp_path / "stopped" / "checkpoints" / "epoch-0001").exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    with pytest.raises(UsageError, match=r"begun with optim\.lr = .*leave that out"):
        toynet.train("quick", root=tmp_path, resume=True, overrides={"optim.lr": 1.0})
    with pytest.raises(UsageError, match="begun with recipe quick, not default"):
        toynet.train("default", name="stopped", root=tmp_path, resume=True)
    with pytest.raises(UsageError, match=r"begun with schedule\.plateau"):
        toynet.train("quick", root=tmp_path, resume=True, overrides={"schedule.plateau": True})
    same = {"train.precision": "auto", "train.epochs": 4}
    said = Notes()
    went_on = toynet.train("quick", root=tmp_path, resume=True, overrides=same, reporter=said)
    assert went_on.name == "stopped"
    assert any(re.match(r"run stopped goes on, with [1-3] epochs? done", note) for note in said.notes)
    with pytest.raises(UsageError, match="no unfinished run of quick"):
        toynet.train("quick", root=tmp_path, resume=True)


def test_resume_prefers_the_run_that_was_begun_with_what_is_asked_for(tmp_path: Path):
    for seed in (3, 4):
        train(tmp_path, f"r{seed}", **{"train.seed": seed})
        (tmp_path / f"r{seed}" / "result.json").unlink()
    os.utime(tmp_path / "r3" / "recipe.toml", (1, 1))
    again = {"root": tmp_path, "resume": True, "data": "glyphs:240", "overrides": TINY}
    with pytest.raises(
        UsageError, match=r"run r4 was begun with train\.seed = 4.* name another run by --name"
    ):
        toynet.train("quick", seed=5, **again)
    assert toynet.train("quick", seed=3, **again).name == "r3"
    assert toynet.train("quick", **again).name == "r4"


@pytest.mark.parametrize("key", ["model.order", "model.shortcut", "model.widths"])
def test_what_the_architecture_decides_is_no_change(tmp_path: Path, key: str):
    changes = {**TINY, key: "none", "train.epochs": 1}
    if key == "model.widths":
        changes |= {"model.name": "toynet12", "data.name": "glyphs:60"}
    toynet.train("quick", name="open", overrides=changes, root=tmp_path)
    (tmp_path / "open" / "result.json").unlink()
    assert toynet.train("quick", overrides=changes, resume=True, root=tmp_path).result.exact


def test_a_resumed_run_tells_the_size_of_its_model_whatever_froze(tmp_path: Path):
    changes = {"train.freeze": {"stem": 0.5}}
    whole = train(tmp_path, "frozen", **changes).result
    (tmp_path / "frozen" / "result.json").unlink()
    again = toynet.train(
        "quick", name="frozen", resume=True, root=tmp_path, overrides={**TINY, **changes}
    ).result
    assert again.trainable_parameters == whole.trainable_parameters


def test_resume_prefers_a_run_that_nobody_trains(tmp_path: Path):
    for name in ("stopped", "running"):
        train(tmp_path, name)
        (tmp_path / name / "result.json").unlink()
    os.utime(tmp_path / "stopped" / "recipe.toml", (1, 1))
    with folder_lock(tmp_path / "running"):
        assert toynet.train("quick", root=tmp_path, resume=True, overrides=TINY).name == "stopped"


@pytest.mark.parametrize("changes", [{"data.size": 8}, {"train.small": {"side_px": 8}}])
@pytest.mark.parametrize(
    "pieces", [{"train.batch_size": 39}, {"train.batch_size": 40, "train.micro_batch": 39}]
)
def test_a_piece_of_one_image_is_refused_where_batch_norm_needs_more(
    tmp_path: Path, changes: dict, pieces: dict
):
    one = {"data.name": "glyphs:60", **pieces}
    with pytest.raises(UsageError, match=r"= 39 leaves a piece of one image \(of 40\), too little for batch"):
        train(tmp_path, "short", **one, **changes)
    assert not (tmp_path / "short").exists()
    train(tmp_path, "whole", **one, **{"train.epochs": 1})


def test_a_shorter_epoch_that_leaves_a_piece_of_one_image_is_refused_too(tmp_path: Path):
    shorter = {"data.name": "glyphs:60", "data.size": 8, "train.skip_easy": {"share": 0.25, "after": 0.5}}
    with pytest.raises(UsageError, match=r"batch_size = 29 leaves a piece of one image \(of 30\)"):
        train(tmp_path, "short", **shorter, **{"train.batch_size": 29})


def test_leaving_out_needs_every_image_once_an_epoch(tmp_path: Path):
    balanced = {"train.sampling": "balanced", "train.skip_easy": {"share": 0.25}}
    with pytest.raises(UsageError, match=r"skip_easy needs sampling=uniform"):
        train(tmp_path, "both", **balanced)


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        (".x", "x-s0-"),
        ("", "quick-"),
        ("my recipe", "my-recipe-s0-"),
        ("a/b~c", "a-b-c-s0-"),
        ("...", "run-s0-"),
    ],
)
def test_a_run_is_called_by_its_recipe_in_letters_that_every_folder_takes(name: str, begins: str):
    recipe = Recipe.load("quick").model_copy(update={"name": name} if name else {})
    assert check_name(fresh_name(recipe, Path())).startswith(begins)
    with pytest.raises(UsageError, match="name: give one line of text"):
        Recipe.from_table("x", {"name": "a\nb"})


def test_a_taken_name_offers_resume_or_another(finished: toynet.Run):
    with pytest.raises(UsageError, match="run whole exists and is finished; choose another --name"):
        train(finished.path.parent, "whole")


def test_a_diverging_run_says_where_and_leaves_a_record(tmp_path: Path):
    with pytest.raises(Diverged, match=r"diverged at step \d+ \(epoch 1\).*Try a lower optim\.lr"):
        train(tmp_path, "wild", **{"optim.name": "sgd", "optim.lr": 1e30, "train.ema": 0.0})
    run = toynet.open_run("wild", root=tmp_path)
    assert run.result.status == "diverged"
    assert run.result.stopped_at_step is not None
    assert run.result.test_accuracy is None
    assert toynet.diagnose(run)[0].code == "diverged"
    with pytest.raises(UsageError, match="diverged and cannot go on"):
        toynet.train("quick", name="wild", root=tmp_path, resume=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"data.name": "glifs"},
        {"model.widths": [4, 8]},
        {"data.name": "npz:/nowhere.npz"},
        {"model.name": "toynet13"},
    ],
)
def test_what_cannot_run_leaves_nothing_behind(tmp_path: Path, changes: dict):
    with pytest.raises(ToyNetError) as caught:
        train(tmp_path, "never", **changes)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_changed_images_are_noticed(finished: toynet.Run, tmp_path: Path):
    arrays = {f"x_{part}": np.zeros((60, 32, 32, 3), np.uint8) for part in ("train", "test")}
    labels = {f"y_{part}": np.arange(60) % 3 for part in ("train", "test")}
    path = tmp_path / "set.npz"
    np.savez(path, **arrays, **labels)
    run = train(tmp_path, "made", **{"data.name": f"npz:{path}"})
    arrays["x_test"][0] = 7
    np.savez(path, **arrays, **labels)
    with pytest.raises(ToyNetError, match="is not what run made was trained on"):
        toynet.evaluate(run)


def test_a_relative_path_is_found_again_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "here").mkdir()
    labels = np.arange(60) % 3
    pixels = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)
    np.savez(tmp_path / "here" / "set.npz", x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    monkeypatch.chdir(tmp_path / "here")
    run = train(tmp_path, "relative", **{"data.name": "npz:set.npz", "train.epochs": 1})
    monkeypatch.chdir(tmp_path)
    assert toynet.evaluate(run).scores.n == run.folder.card().val_images
    with pytest.raises(UsageError, match=r"crop_pad_px must be below the images' side, which is 16 pixels"):
        train(tmp_path, "wide", **{"data.name": "npz:here/set.npz", "augment.crop_pad_px": 16})
    assert not (tmp_path / "wide").exists()


DAMAGE = {
    "predictions.npz": ["", "garbage", None],
    "metrics.jsonl": ["[]\n", "{}\n", "null\n", "garbage\n{}\n"],
    "activations.json": ["null", "[3]", "garbage", ""],
    "recipe.toml": ["", "[[", "x = 1"],
    "result.json": ["", "{}", "[]"],
}


@pytest.mark.parametrize(("name", "content"), [(n, c) for n, several in DAMAGE.items() for c in several])
def test_damaged_run_files_are_named(finished: toynet.Run, tmp_path: Path, name: str, content: str | None):
    copy = tmp_path / "copy"
    shutil.copytree(finished.path, copy)
    if content is None:
        (copy / name).unlink()
        assert toynet.diagnose("copy", root=tmp_path)
        return
    (copy / name).write_text(content)
    with pytest.raises(ToyNetError, match=re.escape(str(copy / name))) as caught:
        toynet.diagnose("copy", root=tmp_path)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1


def test_a_damaged_ledger_is_noticed_before_training(tmp_path: Path):
    (tmp_path / "test-reads.jsonl").write_text("garbage\n{}\n")
    with pytest.raises(ToyNetError, match=r"test-reads\.jsonl: line 1 is damaged"):
        train(tmp_path, "never")
    assert not (tmp_path / "never").exists()


def test_a_run_named_instead_of_its_recipe_is_told_how_to_go_on(finished: toynet.Run):
    with pytest.raises(UsageError, match=r"whole is a run, .* toynet train quick --resume --name whole"):
        toynet.train("whole", root=finished.path.parent, resume=True)


def test_a_run_without_its_recipe_is_not_called_missing(tmp_path: Path):
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "metrics.jsonl").touch()
    with pytest.raises(UsageError, match=r"half has lost its recipe\.toml; bring it back"):
        RunFolder.open("half", tmp_path)


def test_a_damaged_neighbour_does_not_hinder_resuming(tmp_path: Path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "recipe.toml").write_text("[[")
    with pytest.raises(UsageError, match="no unfinished run of quick"):
        toynet.train("quick", root=tmp_path, resume=True)


def test_no_validation_is_possible(tmp_path: Path):
    run = train(tmp_path, "full", **{"data.protocol": "full", "train.epochs": 1})
    assert run.result.val_accuracy is None
    assert run.result.test_accuracy is not None
    with pytest.raises(UsageError, match="full has no validation part"):
        toynet.evaluate(run, "val")


def test_a_whitened_frozen_run_resumes_to_the_same_end(tmp_path: Path):
    changes = {
        "model.name": "speednet",
        "model.widths": [4, 6, 8],
        "train.freeze": {"whiten": 0.5, "group1": 0.5},
        "optim.name": "muon",
        "optim.unit_rows": True,
    }
    whole = train(tmp_path / "a", "whole", **changes)
    shutil.copytree(whole.path, tmp_path / "b" / "half")
    half = tmp_path / "b" / "half"
    (half / "result.json").unlink()
    newest = max(path for path in (half / "checkpoints").iterdir() if path.is_dir())
    shutil.rmtree(newest)
    assert any((half / "checkpoints").glob("epoch-*")), "an earlier one is needed to go on from"
    resumed = toynet.train("quick", name="half", overrides={**TINY, **changes}, root=half.parent, resume=True)
    assert final_logits(resumed.path) == final_logits(whole.path)
    with pytest.raises(UsageError, match=r"train\.freeze: the model has no part 'group9'"):
        train(tmp_path / "c", "wrong", **{**changes, "train.freeze": {"group9": 0.5}})
    assert not (tmp_path / "c").exists()


def test_a_run_imports_neither_torchs_compiler_nor_sympy(tmp_path: Path):
    """Some of torch's functions import its compiler and sympy, 1.1 s in all, and there are ways past them."""
    code = (
        "import sys, toynet\n"
        "from pathlib import Path\n"
        "for optimizer in 'adam', 'sgd', 'muon':\n"
        f"    changes = {TINY | {'train.epochs': 1}!r} | {{'optim.name': optimizer}}\n"
        "    toynet.train('quick', name=optimizer, overrides=changes, root=Path(sys.argv[1]))\n"
        "assert not {'torch._dynamo', 'sympy'} & set(sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
