"""Final claims on test images some of which were trained on."""

import tomllib
from pathlib import Path

import numpy as np
import pytest
from tiny_study import toml

from toynet.data.glyphs import glyphs
from toynet.studies.conduct import conduct
from toynet.studies.final import final
from toynet.studies.folder import Account, StudyFolder
from toynet.studies.spec import StudySpec

COPIES = [3, 7, 20]


def write(path: Path, copies: list[int]) -> str:
    data = glyphs(300)
    test, labels = data.test.images[:].copy(), data.test.labels.copy()
    test[copies], labels[copies] = data.train.images[copies], data.train.labels[copies]
    train = data.train
    np.savez(path, x_train=train.images[:], y_train=train.labels, x_test=test, y_test=labels)
    return f"npz:{path}"


def claim(folder: Path, copies: list[int]) -> Account:
    table = tomllib.loads(toml())
    table["set"]["data.name"] = write(folder / "own.npz", copies)
    study = StudyFolder(folder / "studies" / "tiny")
    conduct(StudySpec.from_table("tiny", table), study.path, jobs=2)
    return final(study, "flip", seeds=2, jobs=2)


def test_a_claim_is_told_without_them_too(tmp_path: Path):
    account = claim(tmp_path, COPIES)
    assert account.plan.seen == tuple(COPIES)
    found = account.findings
    kept = {
        key: np.delete(entry.correctness(), COPIES).mean() * 100 for key, entry in account.entries.items()
    }
    expected = np.mean([kept["flip", seed] - kept["control", seed] for seed in (2, 3)])
    assert found.unseen.contrasts[0].difference == pytest.approx(expected)
    assert found.unseen.arms[0].mean == pytest.approx(np.mean([kept["control", s] for s in (2, 3)]))
    raw = np.mean([100 * account.entries["control", seed].test_accuracy for seed in (2, 3)])
    assert found.comparisons[0].arms[0].mean == pytest.approx(raw)
    (told,) = [one for one in found.all_cautions() if one.code == "seen-in-training"]
    assert told.text.startswith("3 test images also in train, pixel for pixel: control ")
    assert f"{found.unseen.arms[0].mean:.2f} % without" in told.text
    assert f"flip without them: {expected:+.2f} pp" in told.text


def test_nothing_is_said_where_no_image_is_in_both(tmp_path: Path):
    account = claim(tmp_path, [])
    assert account.plan.seen == ()
    assert account.findings.unseen is None
    assert "seen-in-training" not in {one.code for one in account.findings.all_cautions()}
