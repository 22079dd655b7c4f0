"""Names are compared with what is there; statuses are those of the disk."""

import json
import shutil
from pathlib import Path

import invented
import pytest

from toynet.core.errors import UsageError
from toynet.core.locks import folder_lock
from toynet.serving.listing import Listing
from toynet.serving.refusals import Refusal
from toynet.serving.remembered import Remembered
from toynet.serving.runs import Runs
from toynet.serving.studies import Studies


@pytest.fixture
def place(tmp_path: Path) -> Listing:
    invented.single_run(tmp_path / "runs", name="one")
    invented.study(tmp_path / "studies", invented.spec(), invented.EFFECTS, images=200)
    return Listing(tmp_path / "runs", tmp_path / "studies")


def test_only_names_that_are_there_are_found(place: Listing):
    assert place.run("one").path == place.runs_root / "one"
    assert place.run("augmentations~control-s0").path.name == "control-s0"
    (place.runs_root / ".hidden").mkdir()
    (place.runs_root / ".hidden" / "recipe.toml").touch()
    (place.runs_root / "no-run").mkdir()
    wrong = ("", ".", "..", "../runs/one", "one/", str(place.runs_root / "one"), ".hidden", "no-run", "one\0")
    for name in (*wrong, "augmentations~..", "augmentations~../control-s0", "~", "augmentations~"):
        with pytest.raises(Refusal, match="there is no run"):
            place.run(name)
    for name in (*wrong, "augmentations~runs", "augmentations~"):
        with pytest.raises(Refusal, match="there is no study"):
            place.study(name)


def test_a_folder_that_is_named_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UsageError, match=r"--runs .*none: there is no such folder"):
        Listing.open(tmp_path / "none", None)
    monkeypatch.setenv("TOYNET_RUNS", str(tmp_path / "neither"))
    monkeypatch.setenv("TOYNET_STUDIES", str(tmp_path / "nor"))
    with pytest.raises(UsageError, match="make a run: toynet train quick"):
        Listing.open(None, None)
    (tmp_path / "nor").mkdir()
    assert Listing.open(None, None).runs() == {}


def test_a_run_is_running_while_somebody_has_it_in_hand(place: Listing):
    runs, folder = Runs(place, Remembered(10)), place.run("one")
    assert runs.summary("one", folder).status == "finished"
    (folder.path / "result.json").unlink()
    assert runs.summary("one", folder).status == "stopped"
    with folder_lock(folder.path):
        assert runs.summary("one", folder).status == "running"
        assert runs.metrics("one", 22).status == "running"
    assert [record.epoch for record in runs.metrics("one", 22).epochs] == [23, 24]
    (folder.path / "metrics.jsonl").write_text("{}\n{}\n")
    broken = runs.summary("one", folder)
    assert broken.status == "damaged"
    assert broken.damage is not None
    assert "metrics.jsonl is damaged" in broken.damage


def test_the_best_come_first_and_those_without_a_score_last(place: Listing):
    invented.single_run(place.runs_root, name="broken").path.joinpath("recipe.toml").write_text("x = [")
    better = invented.single_run(place.runs_root, name="better")
    result = json.loads((better.path / "result.json").read_text())
    result |= {"val_accuracy": result["val_accuracy"] + 0.1, "test_accuracy": result["test_accuracy"] - 0.1}
    (better.path / "result.json").write_text(json.dumps(result))
    runs = Runs(place, Remembered(10))
    assert [run.name for run in runs.page("score", 0, 10).runs] == ["better", "one", "broken"]
    assert [run.name for run in runs.page("score", 1, 1).runs] == ["one"]
    assert runs.page("newest", 0, 1).total == 3


def test_a_study_tells_its_verdicts_and_every_run(place: Listing):
    studies = Studies(place, Remembered(10), Runs(place, Remembered(10)))
    found = studies.detail("augmentations")
    assert (found.status, found.runs, found.planned_runs, found.seeds) == (
        "finished",
        25,
        25,
        (0, 1, 2, 3, 4),
    )
    arms = {arm.name: arm for arm in found.table}
    assert arms["shift"].verdict == "helps"
    assert arms["control"].against is None
    assert arms["flip"].cells[2].run == "augmentations~flip-s2"
    assert place.run("augmentations~flip-s2").path.exists()
    with folder_lock(place.studies_root / "augmentations"):
        assert studies.detail("augmentations").status == "running"


def test_a_study_in_progress_shows_what_is_done_at_work_and_planned(place: Listing):
    journal = place.studies_root / "augmentations" / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:8]))  # the plan and seven runs
    at_work = place.studies_root / "augmentations" / "runs" / "shift-s3"
    (at_work / "result.json").unlink()
    studies = Studies(place, Remembered(10), Runs(place, Remembered(10)))
    with folder_lock(at_work):
        found = studies.detail("augmentations")
    assert (found.status, found.runs, found.planned_runs) == ("stopped", 7, 25)
    statuses = [cell.status for arm in found.table for cell in arm.cells]
    assert statuses.count("finished") == 7
    shift = next(arm for arm in found.table if arm.name == "shift")
    assert shift.cells[3].status == "running"
    shutil.copytree(journal.parent, journal.parent / "final-shift")
    with folder_lock(journal.parent / "final-shift" / "runs" / "shift-s3"):
        claim = studies.detail("augmentations~final-shift")
    cell = next(arm for arm in claim.table if arm.name == "shift").cells[3]
    assert (cell.status, cell.run) == ("running", None), "runs of claims have no page of their own"
    assert shift.cells[3].epochs == 16


def test_a_damaged_study_says_so(place: Listing):
    (place.studies_root / "augmentations" / "journal.jsonl").write_text('{"plan": {}}\n')
    studies = Studies(place, Remembered(10), Runs(place, Remembered(10)))
    assert studies.page(0, 10).studies[0].status == "damaged"
    assert "the plan is damaged" in (studies.detail("augmentations").damage or "")
