"""The page of one run."""

import json
from pathlib import Path

import invented
import pytest
from html_reader import Reader
from invented import HOSTILE

from toynet.core.errors import UsageError
from toynet.reporting import readings
from toynet.reporting.run_page import run_page
from toynet.reporting.subject import write_report


def test_a_run_tells_its_score_its_classes_and_its_recipe(tmp_path: Path):
    page = run_page(invented.single_run(tmp_path))
    html = Reader(page.html)
    assert "of the test images are classified rightly after 24 epochs" in html.plain
    for name in ("curves", "diagnosis", "classes", "confusion", "calibration", "pictures", "reproduce"):
        assert name in html.names
    assert html.tags.count("img") == 24
    assert 'name = "quick"' in page.markdown
    assert "toynet train recipe.toml --seed 3" in page.markdown
    assert len(html.names) == len(set(html.names))


def test_a_run_that_has_only_begun_has_a_page(tmp_path: Path):
    run = invented.single_run(tmp_path)
    for name in ("result.json", "predictions.npz", "activations.json", "metrics.jsonl"):
        (run.path / name).unlink()
    html = Reader(run_page(run).html)
    assert "It has not finished; there is no score after 0 epochs." in html.plain
    assert "classes" not in html.names


def test_class_names_are_text(tmp_path: Path):
    run = invented.single_run(tmp_path, (HOSTILE, "猫", *invented.CLASSES[2:]))
    html = Reader(run_page(run).html)
    assert HOSTILE in html.plain
    assert all(address.startswith(("#", "data:image/png", "data:,")) for address in html.addresses)


def test_the_page_lands_beside_the_run_or_where_it_is_wanted(tmp_path: Path):
    run = invented.single_run(tmp_path / "runs")
    places = {"runs": tmp_path / "runs", "studies": tmp_path / "studies"}
    assert write_report(["quick-s3"], None, **places) == run.path / "report.html"
    assert (run.path / "report.md").exists()
    elsewhere = write_report([run.path], tmp_path / "new" / "a.html", **places)
    assert elsewhere.with_suffix(".md").exists()
    with pytest.raises(UsageError, match=r"report is written as \.html"):
        write_report(["quick-s3"], tmp_path / "a.pdf", **places)
    with pytest.raises(UsageError, match=r"no study quick-s4 in .*; did you mean quick-s3\?"):
        write_report(["quick-s4"], None, **places)


def test_a_study_is_found_too_and_a_name_of_both_is_refused(tmp_path: Path):
    invented.study(tmp_path / "studies", invented.spec("both"), {}, images=200, folders=False)
    places = {"runs": tmp_path / "runs", "studies": tmp_path / "studies"}
    assert write_report(["both"], None, **places) == tmp_path / "studies" / "both" / "report.html"
    invented.single_run(tmp_path / "runs", name="both")
    with pytest.raises(UsageError, match="both is a study and a run; give a path"):
        write_report(["both"], None, **places)


def test_a_change_is_tried_in_a_study_where_both_sides_can_be_compared(tmp_path: Path):
    run = invented.single_run(tmp_path, name="one")
    assert readings.try_by(run, Path("one"), "model.dropout", 0.5) == (
        "toynet study one/recipe.toml --try model.dropout=0.5"
    )
    alone = "toynet train 'my runs/one/recipe.toml' --set {} --seed 3"
    assert readings.try_by(run, Path("my runs/one"), "train.epochs", 40) == alone.format("train.epochs=40")
    record = run.path / "recipe.toml"
    record.write_text(record.read_text().replace('protocol = "standard"', 'protocol = "full"'))
    assert readings.try_by(run, Path("my runs/one"), "optim.lr", 0.1) == alone.format("optim.lr=0.1")


def test_the_page_says_how_to_try_what_it_suggests(tmp_path: Path):
    run = invented.single_run(tmp_path, name="one")
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    for number, line in enumerate(lines):
        line |= {"train_accuracy": 0.99, "val_accuracy": 0.6, "val_loss": 0.8 + 0.06 * number}
    (run.path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "toynet study one/recipe.toml --try model.dropout=0.5" in run_page(run).html
