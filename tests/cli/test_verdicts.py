"""What a study ends in on stdout."""

from dataclasses import replace
from pathlib import Path

import invented
import pytest

from toynet.cli.verdicts import print_account
from toynet.studies.folder import Account
from toynet.studies.spec import Metric


def claim(place: Path, reads: int, metric: Metric = "test_accuracy") -> Account:
    wanted = invented.spec("quickstart/final-shift", variant={"shift": {"augment.shift": 0.2}})
    wanted = wanted.model_copy(update={"metric": metric, "first_seed": 20})
    account = invented.study(place, wanted, invented.EFFECTS, images=500, folders=False)
    return replace(account, plan=account.plan.model_copy(update={"test_reads": reads}))


@pytest.mark.parametrize(
    ("reads", "told"),
    [
        (1, "Test set read 1 time from here, this claim included"),
        (3, "Test set read 3 times from here, this claim included"),
        (0, "Test set read at least once from here"),
    ],
)
def test_a_final_claim_says_how_often_the_test_set_was_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], reads: int, told: str
):
    print_account(claim(tmp_path, reads), None, json=False)
    assert told in capsys.readouterr().out


def test_a_study_says_nothing_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    print_account(claim(tmp_path, 0, "val_accuracy"), None, json=False)
    assert "Test set" not in capsys.readouterr().out
