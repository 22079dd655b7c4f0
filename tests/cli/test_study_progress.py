"""A study as it goes, on a terminal and elsewhere."""

import re
from pathlib import Path
from statistics import mean

import invented
import pytest

from toynet.cli.study_progress import StudyReporter
from toynet.studies.folder import Account
from toynet.studies.jobs import Job
from toynet.studies.outlook import Outlook

AHEAD = Outlook(sigma=0.3, source="made up", seen="sees 1 pp", run_s=20.0, least_s=100.0, most_s=None)


@pytest.fixture
def account(tmp_path: Path) -> Account:
    """Scored by the best epoch, which is 0.2 points above the last."""
    return invented.study(
        tmp_path,
        invented.spec("mine", metric="best_val_accuracy", seeds=3),
        invented.EFFECTS,
        seeds=3,
        images=500,
        folders=False,
        diverged=[("flip", 1)],
    )


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes rich believe in one that is wide enough for a row on a line."""
    for key, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "200", "LINES": "50"}.items():
        monkeypatch.setenv(key, value)


def job(arm: str, seed: int) -> Job:
    return Job(arm=arm, seed=seed, recipe="", path="", images="")


def table(account: Account, capsys: pytest.CaptureFixture[str], *waiting: tuple[str, int]) -> str:
    """As a resumed study draws it, where all but `waiting` is known."""
    with StudyReporter() as reporter:
        reporter.planned(account.plan, 2, AHEAD)
        reporter.scheduled([job(*key) for key in waiting], account.entries)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)


@pytest.mark.usefixtures("terminal")
def test_a_resumed_study_shows_what_it_has(account: Account, capsys: pytest.CaptureFixture[str]):
    text = table(account, capsys, ("dropout", 2))
    best = [entry.best_val_accuracy for (arm, _), entry in account.entries.items() if arm == "control"]
    assert re.search(rf"control\W+3\W+{100 * mean(filter(None, best)):.2f}", text)
    assert re.search(r"flip\W+2 1 failed", text)
    assert re.search(r"dropout\W+2\W", text)
    assert "1 run to go, about" in text


@pytest.mark.usefixtures("terminal")
def test_a_run_that_is_tried_again_is_not_a_failure(account: Account, capsys: pytest.CaptureFixture[str]):
    assert "failed" not in table(account, capsys, ("flip", 1))


def test_elsewhere_a_run_is_a_line_with_the_score_of_the_study(
    account: Account, capsys: pytest.CaptureFixture[str]
):
    entry = account.entries["control", 0]
    with StudyReporter() as reporter:
        reporter.planned(account.plan, 2, AHEAD)
        reporter.scheduled([job("control", 0)], {})
        reporter.began(job("control", 0))
        reporter.ended(entry)
        reporter.ended(account.entries["flip", 1])
    told = capsys.readouterr().err
    assert entry.best_val_accuracy is not None
    assert f"control, seed 0: {100 * entry.best_val_accuracy:.2f} %" in told
    assert re.search(r"flip, seed 1:\s+\d+ s  diverged: the loss was not finite", told)


@pytest.mark.parametrize(
    ("slow", "left"),
    [(0, "about 20 s"), (3, "about 20 s"), (13, "about 33 min")],
    ids=["even", "slow at first", "slow all along"],
)
def test_the_time_left_goes_by_work_and_by_the_latest_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], slow: int, left: str
):
    wide = invented.study(tmp_path, invented.spec("wide", seeds=3), {}, larger=["shift"], folders=False)
    keys = [key for key in wide.entries if key[0] != "shift"][:13]
    with StudyReporter() as reporter:
        reporter.planned(wide.plan, 2, AHEAD)
        known = {
            key: wide.entries[key].model_copy(update={"whole_s": 2000.0 if place < slow else 20.0})
            for place, key in enumerate(keys[:-1])
        }
        reporter.scheduled([job("shift", 2), job(*keys[-1])], known)
        last = 2000.0 if slow == len(keys) else 20.0
        reporter.ended(wide.entries[keys[-1]].model_copy(update={"whole_s": last}))
    assert f"(1 run to go, {left})" in capsys.readouterr().err


@pytest.mark.usefixtures("terminal")
def test_a_question_is_text_whatever_is_in_brackets(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    wanted = invented.spec("odd", question="Does [augment] or [/half] help?", seeds=3)
    account = invented.study(tmp_path, wanted, invented.EFFECTS, seeds=3, images=500, folders=False)
    assert "Does [augment] or [/half] help?" in table(account, capsys, ("dropout", 2))
