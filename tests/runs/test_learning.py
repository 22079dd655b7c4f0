"""Short real trainings with a floor: the parts may all pass and the whole still not learn."""

import os
from pathlib import Path

import numpy as np
import pytest

import toynet
from toynet.data.spec import DataSpec


def test_glyphs_are_learnt(tmp_path: Path):
    changes = {"data.name": "glyphs:3600", "train.epochs": 8, "train.batch_size": 50}
    run = toynet.train("quick", overrides=changes, root=tmp_path)
    assert run.result.test_accuracy > 0.7  # chance is 0.1; seen 0.85
    assert run.result.best_val_accuracy >= run.result.val_accuracy


@pytest.mark.skipif(
    not (Path(os.environ.get("TOYNET_DATA", "/nowhere")) / "cifar-10-batches-bin").is_dir(),
    reason="the real CIFAR-10 is needed: set TOYNET_DATA to the folder that holds cifar-10-batches-bin/",
)
def test_a_tenth_of_real_cifar10_is_learnt_with_the_reports_recipe(tmp_path: Path):
    from toynet.data.sources import load

    whole = load(DataSpec(name="cifar10"))
    path = tmp_path / "tenth.npz"
    np.savez(
        path,
        x_train=whole.train.images[:5000],
        y_train=whole.train.labels[:5000],
        x_test=whole.test.images[:2000],
        y_test=whole.test.labels[:2000],
        classes=np.array(whole.classes),
    )
    changes = {"data.name": f"npz:{path}", "train.epochs": 5, "schedule.boundaries_epochs": [3, 4]}
    run = toynet.train("report/toynet20_init", overrides=changes, root=tmp_path)
    assert run.result.test_accuracy > 0.4  # chance is 0.1; seen 0.50
