"""Runs that were made one by one, compared as a study."""

import shutil
from pathlib import Path

import pytest

import toynet
from toynet.core.errors import ToyNetError, UsageError
from toynet.runs.folder import RunFolder
from toynet.studies.gather import gather

TINY = {
    "data.name": "glyphs:300",
    "model.widths": [4, 4, 4, 4],
    "train.epochs": 2,
    "train.batch_size": 50,
    "train.precision": "fp32",
    "train.kernels": "direct",
    "train.memory_format": "channels_last",
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    for seed in (0, 1, 7):
        for name, changes in (("base", {}), ("flip", {"augment.flip": "random"})):
            toynet.train("quick", name=f"{name}-s{seed}", seed=seed, overrides=TINY | changes, root=root)
    toynet.train("quick", name="long-s0", seed=0, overrides=TINY | {"train.epochs": 3}, root=root)
    return root


def folders(root: Path, *names: str) -> list[RunFolder]:
    return [RunFolder(root / name) for name in names]


def test_runs_that_differ_in_the_seed_are_one_arm(runs: Path):
    names = [f"{arm}-s{seed}" for arm in ("base", "flip") for seed in (0, 1, 7)]
    found = gather(folders(runs, *names))
    assert [arm.name for arm in found.plan.arms] == ["base-s0", "flip-s0"]
    assert [str(change) for change in found.plan.arms[1].changes] == ["augment.flip: none -> random"]
    contrast = found.findings.contrast("flip-s0")
    scores = {name: RunFolder(runs / name).result().val_accuracy for name in names}
    pairs = [scores[f"flip-s{seed}"] - scores[f"base-s{seed}"] for seed in (0, 1, 7)]
    assert contrast.difference == pytest.approx(100 * sum(pairs) / 3)
    assert contrast.seeds == 3


def test_images_that_are_left_out_are_no_samples(runs: Path, tmp_path: Path):
    shutil.copytree(runs / "base-s0", tmp_path / "base-s0")
    changes = TINY | {"train.skip_easy": {"share": 0.5, "after": 0.5}}
    run = toynet.train("quick", name="fewer-s0", seed=0, overrides=changes, root=tmp_path)
    found = gather(folders(tmp_path, "base-s0", "fewer-s0"))
    every = run.folder.card().train_images
    assert {name: size.samples for name, size in found.plan.sizes.items()} == {
        "base-s0": 2 * every,
        "fewer-s0": every + round(every / 2),
    }
    lines = run.folder.metrics()
    seconds = every / lines[0].images_per_s + round(every / 2) / lines[1].images_per_s
    assert run.result.images_per_s == pytest.approx((every + round(every / 2)) / seconds)


def test_only_shared_seeds_are_compared(runs: Path):
    found = gather(folders(runs, "base-s0", "base-s1", "base-s7", "flip-s7", "flip-s0"))
    assert found.findings.contrast("flip-s7").seeds == 2
    assert len(found.entries) == 5


def test_one_seed_gets_no_verdict(runs: Path):
    found = gather(folders(runs, "base-s0", "flip-s0")).findings
    assert found.comparisons == ()
    assert (found.next_look, found.running) == (None, ())
    assert "unfinished" not in [caution.code for caution in found.cautions]
    assert found.withheld[0].reason == "one seed so far together with base-s0; it takes two at least"


def test_unequal_budgets_are_told(runs: Path):
    found = gather(folders(runs, "base-s0", "base-s1", "long-s0")).findings
    assert found.contrast("long-s0") is None


def test_what_cannot_be_compared_is_one_line(runs: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="differ in nothing but their seeds"):
        gather(folders(runs, "base-s0", "base-s1"))
    shutil.copytree(runs / "base-s0", tmp_path / "copy")
    with pytest.raises(UsageError, match="base-s0 and copy are one recipe with one seed"):
        gather([*folders(runs, "base-s0", "flip-s0"), RunFolder(tmp_path / "copy")])
    (tmp_path / "copy" / "result.json").unlink()
    with pytest.raises(ToyNetError, match="run copy is not finished"):
        gather([*folders(runs, "flip-s0"), RunFolder(tmp_path / "copy")])
    other = toynet.train("quick", name="other", overrides=TINY | {"data.name": "glyphs:301"}, root=tmp_path)
    with pytest.raises(UsageError, match="base-s0 and other have other images"):
        gather([*folders(runs, "base-s0"), RunFolder(other.path)])


def test_the_command_prints_what_the_function_finds(runs: Path, capsys: pytest.CaptureFixture[str]):
    from toynet.cli.verdicts import print_account

    found = toynet.compare([f"{arm}-s{seed}" for arm in ("base", "flip") for seed in (0, 1)], root=runs)
    print_account(found, Path("x.html"), json=False)
    out = capsys.readouterr().out
    assert "Is flip-s0 better than base-s0?" in out
    assert found.findings.contrast("flip-s0").sentence in out
    assert "page: x.html" in out
    assert "a verdict needs 5 seeds" in out
