"""Studies whose seeds set other images apart."""

import shutil
import tomllib

import numpy as np
import pytest
from tiny_study import toml

import toynet
from toynet.core.errors import UsageError
from toynet.reporting import reproduction
from toynet.reporting.study_page import study_page
from toynet.runs.folder import RunFolder
from toynet.studies.conduct import conduct, rehearse
from toynet.studies.final import final
from toynet.studies.folder import StudyFolder
from toynet.studies.spec import StudySpec


def spec(**changes: object) -> StudySpec:
    return StudySpec.from_table("tiny", {**tomllib.loads(toml()), **changes})


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    folder = StudyFolder(tmp_path_factory.mktemp("studies") / "tiny")
    conduct(spec(vary_split=True), folder.path, jobs=2)
    return folder


def run(folder: StudyFolder, arm: str, seed: int) -> RunFolder:
    return RunFolder(folder.runs / f"{arm}-s{seed}")


def test_all_arms_of_a_seed_share_a_split_and_seeds_do_not(varied: StudyFolder):
    digests = {seed: run(varied, "control", seed).card().split_digest for seed in (0, 1)}
    assert digests[0] != digests[1]
    for seed in (0, 1):
        assert run(varied, "flip", seed).card().split_digest == digests[seed]
        assert run(varied, "flip", seed).recipe().data.split_seed == 2021 + seed
    one, other = (run(varied, "control", seed).predictions()["val_labels"] for seed in (0, 1))
    assert not np.array_equal(one, other)


def test_a_run_equals_the_same_recipe_trained_alone(varied: StudyFolder, tmp_path):
    mine = run(varied, "flip", 1)
    alone = toynet.train(str(mine.path / "recipe.toml"), name="alone", root=tmp_path)
    assert alone.result.val_accuracy == mine.result().val_accuracy
    np.testing.assert_array_equal(alone.folder.predictions()["val_logits"], mine.predictions()["val_logits"])


def test_images_are_not_followed_over_seeds(varied: StudyFolder):
    findings = varied.account().findings
    contrast = findings.contrast("flip")
    assert contrast.new_images is None
    assert {arm.floor for arm in findings.comparisons[0].arms} == {None}
    assert "varied-split" in {one.code for one in findings.all_cautions()}
    page = study_page(varied.account())
    assert "other images validate for each seed" in page.html
    assert "other images validate for each seed" in page.markdown
    assert "interval over choices of validation images" in page.html
    assert "vary_split = true" in reproduction.study_file(varied.plans()[-1].spec)


def test_a_claim_trains_on_varied_parts_too_and_scores_the_same_test_images(varied: StudyFolder, tmp_path):
    shutil.copytree(varied.path, tmp_path / "tiny")
    account = final(StudyFolder(tmp_path / "tiny"), "flip", seeds=2, jobs=2)
    folders = [account.runs["flip", seed] for seed in (2, 3)]
    assert [one.recipe().data.split_seed for one in folders] == [2023, 2024]
    labels = [one.predictions()["test_labels"] for one in folders]
    np.testing.assert_array_equal(*labels)
    assert account.findings.contrast("flip").new_images is not None
    assert "varied-split" not in {one.code for one in account.findings.all_cautions()}


def test_what_is_begun_with_one_split_does_not_go_on_with_many(varied: StudyFolder):
    with pytest.raises(UsageError, match=r"was begun differently \(vary_split\)"):
        conduct(spec(), varied.path, jobs=2, resume=True)


def test_a_split_that_no_seed_changes_is_refused(tmp_path):
    fixed = spec(vary_split=True, set={"data.name": "glyphs:300", "data.protocol": "report"})
    with pytest.raises(UsageError, match=r'control: vary_split .* data.protocol = "report" does not'):
        rehearse(fixed, tmp_path / "tiny")
