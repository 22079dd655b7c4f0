"""Run folders that a person meets: half deleted, copied while running, newer, read by two, edited since."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

import toynet.api.training
from reliability import tiny
from toynet.core.errors import CheckpointError, ToyNetError, UsageError
from toynet.training import checkpoints


@pytest.fixture(scope="module", autouse=True)
def no_pictures() -> Iterator[None]:
    """They take longer than the runs, and none is looked at here."""
    with patch.object(toynet.api.training, "_illustrate", lambda folder: None):
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, begun by a recipe's file with some settings overridden."""
    place = tmp_path_factory.mktemp("runs")
    one = tiny.recipe(**{"train.epochs": 3})
    table = one.to_table() | {"name": "mine"}
    (place / "mine.toml").write_text(one.from_table("mine", table).to_toml())
    toynet.train(str(place / "mine.toml"), name="whole", root=place, overrides={"optim.lr": 0.002})
    return place


@pytest.fixture
def half(whole: Path, tmp_path: Path) -> Path:
    """The run two epochs in, with its recipe's file beside it."""
    shutil.copytree(whole / "whole", tmp_path / "half")
    shutil.copy(whole / "mine.toml", tmp_path)
    run = tmp_path / "half"
    for name in ("result.json", "predictions.npz"):
        (run / name).unlink()
    shutil.rmtree(run / "checkpoints" / "epoch-0003")
    return run


def resume(run: Path, **options: object) -> toynet.Run:
    recipe = run.parent / "mine.toml"
    return toynet.train(str(recipe), name=run.name, root=run.parent, resume=True, **options)


def one_line(caught: pytest.ExceptionInfo[BaseException]) -> bool:
    return "\n" not in str(caught.value)


def test_it_goes_on_to_the_same_end(whole: Path, half: Path):
    assert resume(half).result.exact
    assert tiny.weights(half) == tiny.weights(whole / "whole")


def test_a_recipe_edited_since_is_refused_with_the_difference(half: Path):
    recipe = half.parent / "mine.toml"
    edited = recipe.read_text().replace("dropout = 0.2", "dropout = 0.3")
    assert edited != recipe.read_text()
    recipe.write_text(edited)
    with pytest.raises(
        UsageError, match=r"with model\.dropout = 0\.2, not model\.dropout = 0\.3.*allow-inexact"
    ) as told:
        resume(half)
    assert one_line(told)
    run = resume(half, allow_inexact=True)
    assert run.result.exact is False
    noted = json.loads((half / "inexact.jsonl").read_text())
    assert noted["reasons"] == ["model.dropout is 0.3, was 0.2"]
    assert run.folder.recipe().model.dropout == 0.3
    assert run.folder.recipe().optim.lr == 0.002, "what was overridden at the start stays"


def test_what_was_overridden_may_change_in_the_file(half: Path):
    recipe = half.parent / "mine.toml"
    recipe.write_text(re.sub(r"(?m)^lr = .*$", "lr = 0.5", recipe.read_text(), count=1))
    assert resume(half).result.exact


def test_an_override_that_differs_can_be_allowed(half: Path):
    with pytest.raises(UsageError, match=r"optim\.lr = 0\.002, not optim\.lr = 0\.001"):
        resume(half, overrides={"optim.lr": 0.001})
    assert not (half / "inexact.jsonl").exists()
    run = resume(half, overrides={"optim.lr": 0.001}, allow_inexact=True)
    assert run.folder.recipe().optim.lr == 0.001
    assert not run.result.exact


@pytest.mark.parametrize(
    ("key", "value", "back"),
    [
        ("schedule.plateau", True, "none"),
        ("train.small", {"side_px": 24}, "none"),
        ("train.freeze", {"stem": 0.5}, {}),
    ],
)
def test_whole_tables_can_come_and_go(half: Path, key: str, value: object, back: object):
    for wanted in (value, back):
        run = resume(half, overrides={key: wanted}, allow_inexact=True)
        section, name = key.split(".")
        found = getattr(getattr(run.folder.recipe(), section), name)
        assert bool(found) == (wanted is value)
        (half / "result.json").unlink()
    told = [json.loads(line)["reasons"] for line in (half / "inexact.jsonl").read_text().splitlines()]
    assert [reasons[0].partition(" is ")[0] for reasons in told] == [key, key]


def test_a_change_that_the_weights_do_not_fit_leaves_all_as_it_was(half: Path):
    before = (half / "recipe.toml").read_text()
    with pytest.raises(CheckpointError, match=r"model: .* in the checkpoint"):
        resume(half, overrides={"model.widths": [8, 8, 8, 8]}, allow_inexact=True)
    assert (half / "recipe.toml").read_text() == before
    assert not (half / "inexact.jsonl").exists()


def test_a_missing_optimiser_is_an_error_unless_allowed(half: Path):
    for file in half.glob("checkpoints/*/optimizer-0.safetensors"):
        file.unlink()
    with pytest.raises(CheckpointError, match=r"optimizer-0\.safetensors.*bring it back") as told:
        resume(half)
    assert one_line(told)
    assert not resume(half, allow_inexact=True).result.exact


@pytest.mark.parametrize("name", ["environment.json", "data.json", "recipe.toml"])
def test_a_missing_file_is_named(half: Path, name: str):
    (half / name).unlink()
    with pytest.raises(ToyNetError, match=f"{name} cannot be read|half has lost its recipe") as told:
        resume(half)
    assert one_line(told)


def test_a_history_shorter_than_the_checkpoint_is_an_error_unless_allowed(half: Path):
    lines = (half / "metrics.jsonl").read_text().splitlines(keepends=True)
    (half / "metrics.jsonl").write_text(lines[0])
    with pytest.raises(
        ToyNetError, match=r"metrics\.jsonl lacks epoch 2, which the checkpoint has done.*inexact"
    ):
        resume(half)
    run = resume(half, allow_inexact=True)
    assert run.result.epochs == 3
    assert not run.result.exact


def test_lost_checkpoints_do_not_cost_the_history_unasked(half: Path, whole: Path):
    shutil.rmtree(half / "checkpoints")
    before = (half / "metrics.jsonl").read_text()
    with pytest.raises(ToyNetError, match="checkpoints is empty, though 3 epochs are done") as told:
        resume(half)
    assert one_line(told)
    assert (half / "metrics.jsonl").read_text() == before
    assert resume(half, allow_inexact=True).result.exact, "begun again, it is the same run"
    assert tiny.weights(half) == tiny.weights(whole / "whole")


def test_a_copy_made_while_a_checkpoint_was_written_goes_on(whole: Path, half: Path):
    newest = shutil.copytree(
        whole / "whole" / "checkpoints" / "epoch-0003", half / "checkpoints" / "epoch-0003"
    )
    shutil.copytree(newest, half / "checkpoints" / ".building-epoch-0004")
    (half / ".lock").write_text("process 1 on elsewhere")
    (newest / "model.safetensors").write_bytes((newest / "model.safetensors").read_bytes()[:100])
    notes: list[str] = []

    class Notes(toynet.core.reporter.Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    run = resume(half, reporter=Notes())
    assert any(str(newest / "model.safetensors") in note for note in notes)
    assert run.result.exact
    assert tiny.weights(half) == tiny.weights(whole / "whole")
    left = {entry.name for entry in (half / "checkpoints").iterdir()}
    assert left == {*checkpoints.names(half / "checkpoints"), "damaged-epoch-0003"}


def test_a_folder_of_a_newer_version_is_told(half: Path):
    environment = json.loads((half / "environment.json").read_text())
    assert environment["format"] == 1
    (half / "environment.json").write_text(json.dumps(environment | {"format": 2}))
    for use in (resume, lambda run: toynet.diagnose(run)):
        with pytest.raises(ToyNetError, match=r"newer ToyNet .*pip install -U"):
            use(half)


def test_a_folder_of_an_older_version_goes_on(half: Path):
    environment = json.loads((half / "environment.json").read_text())
    del environment["format"]
    (half / "environment.json").write_text(json.dumps(environment))
    (half / "base.toml").unlink()
    assert resume(half).result.exact


def test_what_a_killed_starter_left_is_no_run_and_goes_in_time(half: Path):
    left = half.parent / ".building-other-1"
    shutil.copytree(half, left)
    recipe = str(half.parent / "mine.toml")
    run = toynet.train(recipe, root=half.parent, resume=True)
    assert run.name == "half"
    os.utime(left, (0, 0))
    toynet.train(recipe, name="next", root=half.parent, overrides={"train.epochs": 1})
    assert not left.exists()


def test_inexact_goes_with_resume_only(half: Path):
    with pytest.raises(UsageError, match="goes with resume"):
        toynet.train("quick", root=half.parent, allow_inexact=True)
