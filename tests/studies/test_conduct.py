"""Whole studies of tiny runs, in real processes that are really killed."""

import os
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
from tiny_study import toml

import toynet
from toynet.core.errors import ToyNetError, UsageError
from toynet.core.locks import folder_lock
from toynet.runs import reads
from toynet.runs.folder import RunFolder
from toynet.runs.recipe import Recipe
from toynet.studies import analysis, budget, design
from toynet.studies import conduct as room
from toynet.studies.conduct import Nobody, conduct, rehearse
from toynet.studies.design import Size
from toynet.studies.engine import LocalEngine
from toynet.studies.final import _check_ended, _first_fresh_seed, final
from toynet.studies.folder import StudyFolder
from toynet.studies.jobs import Job
from toynet.studies.ledger import TIMED, Entry, pack
from toynet.studies.outlook import Outlook
from toynet.studies.plan import Plan
from toynet.studies.schedule import carry_out
from toynet.studies.spec import StudySpec
from toynet.training import checkpoints

TINY = tomllib.loads(toml())


def spec(**changes: object) -> StudySpec:
    return StudySpec.from_table("tiny", {**TINY, **changes})


class Listener(Nobody):
    def __init__(self) -> None:
        self.begun: list[tuple[str, int]] = []

    def began(self, job: Job) -> None:
        self.begun.append((job.arm, job.seed))


def scores(folder: StudyFolder) -> dict[tuple[str, int], tuple[object, ...]]:
    """All of every run that does not depend on the clock."""
    return {
        key: tuple(entry.model_dump(exclude=TIMED).items()) for key, entry in folder.ledger.entries().items()
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    folder = StudyFolder(tmp_path_factory.mktemp("studies") / "tiny")
    conduct(spec(), folder.path, jobs=2)
    return folder


def test_a_study_leaves_its_plan_its_runs_and_a_verdict(finished: StudyFolder):
    plan, entries = finished.plans()[-1], finished.ledger.entries()
    assert [arm.name for arm in plan.arms] == ["control", "flip"]
    assert set(entries) == {(arm, seed) for arm in ("control", "flip") for seed in (0, 1)}
    assert all(entry.outcome == "finished" and entry.threads >= 1 for entry in entries.values())
    assert all(0 < entry.cpu_s < 2 * entry.whole_s + 1 for entry in entries.values())
    assert sorted(path.name for path in finished.runs.iterdir()) == [
        "control-s0",
        "control-s1",
        "flip-s0",
        "flip-s1",
    ]
    found = finished.account().findings
    contrast = found.contrast("flip")
    expected = [
        100 * entries["flip", s].val_accuracy - 100 * entries["control", s].val_accuracy for s in (0, 1)
    ]
    assert contrast.difference == pytest.approx(sum(expected) / 2)
    assert contrast.verdict == "description only", "two seeds are not enough to judge by"
    assert found.next_look is None
    assert not (finished.path / room._IMAGES).exists()


def test_seeds_are_paired_and_test_images_are_left_alone(finished: StudyFolder):
    for seed in (0, 1):
        one, other = (RunFolder(finished.runs / f"{arm}-s{seed}") for arm in ("control", "flip"))
        assert one.recipe().train.seed == other.recipe().train.seed == seed
        assert one.result().test_accuracy is None
        assert "test_logits" not in one.predictions()
    assert not (finished.runs / "test-reads.jsonl").exists()


def test_a_run_of_a_study_is_a_run_as_any_other(finished: StudyFolder, tmp_path: Path):
    import toynet

    recipe = finished.runs / "control-s1" / "recipe.toml"
    again = toynet.train(str(recipe), name="again", root=tmp_path)
    assert again.result.val_accuracy == finished.ledger.entries()["control", 1].val_accuracy


def test_a_finished_study_is_resumed_without_a_run(finished: StudyFolder):
    listener = Listener()
    before = finished.account().findings
    assert conduct(spec(), finished.path, jobs=2, resume=True, audience=listener).findings == before
    assert listener.begun == []


def test_a_lost_journal_is_rebuilt_from_sealed_runs(finished: StudyFolder, tmp_path: Path):
    copy = StudyFolder(tmp_path / "tiny")
    shutil.copytree(finished.path, copy.path)
    lines = copy.ledger.path.read_text().splitlines(keepends=True)
    copy.ledger.path.write_text(lines[0])
    sealed = {path: path.stat().st_mtime_ns for path in copy.runs.glob("*/result.json")}
    conduct(spec(), copy.path, jobs=1, resume=True)
    assert scores(copy) == scores(finished)
    assert {path: path.stat().st_mtime_ns for path in sealed} == sealed, "nothing was trained again"


def test_a_study_of_a_relative_path_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    labels = np.arange(60) % 3
    pixels = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)
    np.savez(tmp_path / "own.npz", x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    folder = StudyFolder(tmp_path / "tiny")
    wanted = spec(set={**TINY["set"], "data.name": "npz:own.npz"})
    monkeypatch.chdir(tmp_path)
    conduct(wanted, folder.path, jobs=2)
    before = scores(folder)
    folder.ledger.path.write_text(folder.ledger.path.read_text().splitlines(keepends=True)[0])
    (folder.runs / "flip-s1" / "result.json").unlink()  # as if it had been killed at the end
    conduct(wanted, folder.path, jobs=2, resume=True)
    assert scores(folder) == before


def test_lost_runs_are_not_made_again_where_the_journal_has_them(finished: StudyFolder, tmp_path: Path):
    copy = StudyFolder(tmp_path / "tiny")
    shutil.copytree(finished.path, copy.path)
    shutil.rmtree(copy.runs)
    listener = Listener()
    assert conduct(spec(), copy.path, resume=True, audience=listener).findings == finished.account().findings
    assert listener.begun == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"set": {**TINY["set"], "optim.lr": 0.5}}, "control: optim.lr"),
        ({"variant": {"flip": {"augment.flip": "alternate"}}}, "flip: augment.flip: random -> alternate"),
        ({"seeds": 3, "margin": 0.4}, "margin"),
    ],
)
def test_a_study_goes_on_only_as_it_was_begun(finished: StudyFolder, changes: dict, told: str):
    with pytest.raises(UsageError, match=f"was begun differently .*{told}"):
        conduct(spec(**changes), finished.path, resume=True)


def test_what_is_noted_of_a_variant_may_change(finished: StudyFolder):
    (name, changes), *_ = TINY["variant"].items()
    noted = {"variant": {**TINY["variant"], name: {**changes, "note": "said better"}}}
    conduct(spec(**noted), finished.path, resume=True)
    assert finished.plans()[-1].spec == spec()


def test_seeds_can_be_added_and_that_is_told(finished: StudyFolder, tmp_path: Path):
    copy = StudyFolder(tmp_path / "tiny")
    shutil.copytree(finished.path, copy.path)
    listener = Listener()
    found = conduct(spec(seeds=3), copy.path, resume=True, audience=listener)
    assert sorted(listener.begun) == [("control", 2), ("flip", 2)]
    assert "seeds were added after a look at the results (2, 3)" in found.findings.cautions[0].text
    assert copy.account().findings == found.findings
    for fewer in (2, "auto"):
        with pytest.raises(UsageError, match="was planned with seeds 3; it can only go on to a larger"):
            conduct(spec(seeds=fewer), copy.path, resume=True)
    assert copy.plans()[-1].arms == copy.plans()[0].arms


def test_a_bare_resume_goes_on_with_what_was_begun(finished: StudyFolder, tmp_path: Path):
    copy = StudyFolder(tmp_path / "tiny")
    shutil.copytree(finished.path, copy.path)
    conduct(spec(seeds=3), copy.path, jobs=2, resume=True)
    file = tmp_path / "tiny.toml"
    file.write_text(toml())
    found = toynet.study(str(file), resume=True, root=tmp_path)
    assert found.plan.spec.seeds == 3
    assert len(found.entries) == 6


def test_a_setting_is_tried_on_a_recipe_without_a_file(tmp_path: Path):
    small = {"model.widths": [4, 4, 4, 4], "train.epochs": 1, "optim.lr": 4e-3, "schedule.warmup_epochs": 0}
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        Recipe.load("quick", {**small, "train.precision": "fp32", "train.kernels": "direct"}).to_toml()
    )
    asked = {
        "tries": {"optim.lr": 1e-3},
        "overrides": {"train.batch_size": 50},
        "seeds": 2,
        "data": "glyphs:240",
        "root": tmp_path,
        "jobs": 2,
    }
    found = toynet.study(str(recipe), **asked)
    assert found.name == "quick-lr=0.001"
    assert found.plan.spec.question == "Does optim.lr = 0.001 help quick?"
    assert [str(change) for change in found.plan.arm("lr=0.001").changes] == ["optim.lr: 0.004 -> 0.001"]
    assert found.findings.contrast("lr=0.001").seeds == 2
    assert {arm.recipe.train.batch_size for arm in found.plan.arms} == {50}
    assert toynet.study(str(recipe), **asked, resume=True).findings == found.findings
    with pytest.raises(UsageError, match=r"control: train\.batch_size: 50 -> 100"):
        toynet.study(str(recipe), **{**asked, "overrides": None}, resume=True)
    with pytest.raises(UsageError, match=r"train\.seed: the seeds are the study's"):
        toynet.study(str(recipe), **{**asked, "overrides": {"train.seed": 3}, "name": "other"})


def test_a_rehearsal_writes_nothing_and_says_what_to_expect(tmp_path: Path):
    class Told(Nobody):
        def planned(self, plan: Plan, jobs: int, ahead: Outlook) -> None:
            self.ahead = ahead

    told = Told()
    ahead = rehearse(spec(seeds="auto"), tmp_path / "tiny", jobs=2, audience=told)
    assert ahead == told.ahead
    assert {path.name for path in tmp_path.iterdir()} <= {"cache"}
    assert ahead.source.startswith("sigma as published for 2 epochs of a ResNet-9")
    assert 0.56 < ahead.sigma < 1.33
    assert ahead.most_s == pytest.approx(4 * ahead.least_s)
    assert "pp at 5 seeds" in str(ahead)
    assert "pp at 20 seeds" in str(ahead)


def test_a_study_that_does_not_fit_into_its_budget_is_not_begun(tmp_path: Path):
    for begin in (conduct, rehearse):
        with pytest.raises(
            UsageError, match=r"up to the first look take about .*, its budget is 0.1 s; plan"
        ):
            begin(spec(budget="0.1 s"), tmp_path / "tiny", jobs=2)
    assert not (tmp_path / "tiny").exists()


def test_a_look_that_does_not_fit_into_the_budget_is_not_begun():
    def run(arm: str, seed: int) -> Entry:
        return Entry(arm=arm, seed=seed, outcome="finished", whole_s=30.0 if arm == "slow" else 10.0)

    done = {(arm, seed): run(arm, seed) for arm in ("control", "slow") for seed in range(5)}
    coming = [(arm, seed) for arm in ("control", "slow") for seed in range(8)]
    # 200 s so far and 120 s to come, two at once.
    assert budget.allows(spec(budget="161 s"), done, coming, jobs=2)
    assert not budget.allows(spec(budget="159 s"), done, coming, jobs=2)
    assert budget.allows(spec(), done, coming, jobs=1)


def test_an_earlier_study_of_the_control_tells_the_spread(tmp_path: Path):
    first = StudyFolder(tmp_path / "first")
    conduct(spec(seeds=5), first.path, jobs=2)
    scores = analysis.scores(spec(), "control", first.ledger.entries())
    ahead = rehearse(spec(variant={"other": {"optim.lr": 0.01}}), tmp_path / "second", jobs=2)
    assert ahead.source == "as in study first"
    assert ahead.sigma == pytest.approx(statistics.stdev(scores))


def test_a_final_claim_takes_fresh_seeds_and_reads_test_once(finished: StudyFolder, tmp_path: Path):
    root = tmp_path / "studies"
    study = StudyFolder(root / "tiny")
    shutil.copytree(finished.path, study.path)
    found = final(study, "flip", seeds=2, jobs=2, ledgers=(tmp_path / "runs",))
    assert {seed for _, seed in found.entries} == {2, 3}
    assert [arm.name for arm in found.plan.arms] == ["control", "flip"]
    assert [str(change) for change in found.plan.arms[1].changes] == ["augment.flip: none -> random"]
    run = found.runs["flip", 3]
    test = run.predictions()["test_logits"].argmax(1) == run.predictions()["test_labels"]
    assert found.entries["flip", 3].test_accuracy == pytest.approx(test.mean())
    assert (found.entries["flip", 3].correctness() == test).all()
    means = [
        statistics.mean(found.entries[arm, s].test_accuracy for s in (2, 3)) for arm in ("flip", "control")
    ]
    contrast = found.findings.contrast("flip")
    assert contrast.difference == pytest.approx(100 * (means[0] - means[1]))
    assert found.plan.test_reads == 1
    assert "test-reads" not in [caution.code for caution in found.findings.cautions]
    with pytest.raises(UsageError, match=r"the final claim of flip is in .*go on with it by --resume"):
        final(study, "flip")
    again = final(study, "flip", jobs=2, resume=True)
    assert again.findings == found.findings
    assert StudyFolder.open("tiny/final-flip", root).account().findings == found.findings
    assert study.account().entries.keys() == finished.account().entries.keys()


def test_looks_at_the_test_images_of_another_claims_runs_count(finished: StudyFolder, tmp_path: Path):
    study = StudyFolder(tmp_path / "studies" / "tiny")
    shutil.copytree(finished.path, study.path)
    runs = study.path / "final-other" / "runs"
    for verb in ("train", "evaluate"):
        reads.log_test_read(runs, digest=study.plans()[-1].test_digest, run="flip-s2", verb=verb)
    assert final(study, "flip", seeds=2, jobs=2).plan.test_reads == 2, "the look by hand, and this claim"


def test_a_claim_that_is_begun_again_stays_as_it_was(finished: StudyFolder, tmp_path: Path):
    root = tmp_path / "studies"
    study = StudyFolder(root / "tiny")
    shutil.copytree(finished.path, study.path)
    found = final(study, "flip", seeds=2, jobs=2)
    assert final(study, "flip", resume=True).findings == found.findings
    with pytest.raises(UsageError, match="was begun with 2 seeds, and keeps them"):
        final(study, "flip", seeds=5, resume=True)
    with pytest.raises(UsageError, match="has a final claim, whose seeds further ones would meet"):
        conduct(spec(seeds=3), study.path, resume=True)
    assert len((root / "test-reads.jsonl").read_text().splitlines()) == 1


def test_a_claim_that_lost_its_journal_goes_on_from_its_runs(finished: StudyFolder, tmp_path: Path):
    study = StudyFolder(tmp_path / "tiny")
    shutil.copytree(finished.path, study.path)
    found = final(study, "flip", seeds=2, jobs=2)
    place = study.final("flip")
    for left in ("", place.ledger.path.read_text()[:40], None):
        if left is None:
            place.ledger.path.unlink()
        else:
            place.ledger.path.write_text(left)
        with pytest.raises(UsageError, match="go on with it by --resume"):
            final(study, "flip", seeds=2)
        again = final(study, "flip", seeds=2, jobs=1, resume=True)
        assert again.findings.contrast("flip") == found.findings.contrast("flip")


def test_an_arm_that_is_settled_can_be_claimed_while_others_are_not(tmp_path: Path):
    variants = {"flip": {"augment.flip": "random"}, "same": {"optim.lr": 0.0041}}
    study = StudyFolder(tmp_path / "tiny")
    study.path.mkdir()
    arms = design.arms(spec(seeds="auto", variant=variants))
    sizes = {arm.name: Size(epochs=2, samples=200, parameters=1, macs=1) for arm in arms}
    plan = Plan(
        spec=spec(seeds="auto", variant=variants, budget="1 s"),
        arms=arms,
        sizes=sizes,
        classes=10,
        digest="d",
        test_digest="t",
    )
    study.ledger.write_plan(plan.model_dump(mode="json"))
    for seed in range(5):
        means = {"control": 0.8, "flip": 0.9 + 0.005 * (seed % 2), "same": 0.8 + 0.02 * (-1) ** seed}
        for arm, accuracy in means.items():
            right = np.random.default_rng([seed, len(arm)]).permutation(1000) < round(1000 * accuracy)
            known = {"val_accuracy": right.mean(), "correct": pack(right), "images": 1000}
            study.ledger.write_run(Entry(arm=arm, seed=seed, outcome="finished", **known))
    account = study.account()
    assert account.findings.running == ("control", "same")
    _check_ended(account, "flip")
    assert _first_fresh_seed(account) == 20, "seeds that the study may still come to are left to it"
    with pytest.raises(UsageError, match="has not ended for same"):
        _check_ended(account, "same")


@pytest.mark.parametrize("short", ["control", "flip"])
def test_no_claim_while_the_study_goes_on(finished: StudyFolder, tmp_path: Path, short: str):
    study = StudyFolder(tmp_path / "tiny")
    shutil.copytree(finished.path, study.path)
    lines = study.ledger.path.read_text().splitlines(keepends=True)
    last = max(number for number, line in enumerate(lines) if f'"arm":"{short}"' in line)
    study.ledger.path.write_text("".join(lines[:last] + lines[last + 1 :]))
    with pytest.raises(UsageError, match="study tiny has not ended for flip"):
        final(study, "flip")
    with pytest.raises(UsageError, match="a claim needs two at least, got 1"):
        final(finished, "flip", seeds=1)
    assert not (tmp_path / "test-reads.jsonl").exists()


def test_a_journal_that_is_lost_is_written_anew_and_other_runs_are_refused(
    finished: StudyFolder, tmp_path: Path
):
    copy = StudyFolder(tmp_path / "tiny")
    shutil.copytree(finished.path, copy.path)
    copy.ledger.path.unlink()
    with pytest.raises(UsageError, match="has runs but no journal; --resume writes it anew"):
        conduct(spec(), copy.path)
    found = conduct(spec(), copy.path, jobs=2, resume=True)
    assert scores(copy) == scores(finished)
    assert all(entry.whole_s >= entry.train_s for entry in found.entries.values())
    copy.ledger.path.unlink()
    with pytest.raises(
        ToyNetError, match=r"holds a run of another recipe \(augment.flip: random -> alternate"
    ):
        conduct(spec(variant={"flip": {"augment.flip": "alternate"}}), copy.path, jobs=1, resume=True)


def test_what_a_dying_process_took_down_is_made_again_on_resume(finished: StudyFolder, tmp_path: Path):
    copy = StudyFolder(tmp_path / "tiny")
    shutil.copytree(finished.path, copy.path)
    shutil.rmtree(copy.run("flip", 1).path)
    copy.ledger.write_run(Entry(arm="flip", seed=1, outcome="failed", reason="its process was killed"))
    listener = Listener()
    conduct(spec(), copy.path, jobs=1, resume=True, audience=listener)
    assert listener.begun == [("flip", 1)]
    assert copy.ledger.entries()["flip", 1].outcome == "finished"


def test_an_arm_that_no_run_could_train_is_found_before_the_first(tmp_path: Path):
    with pytest.raises(UsageError, match=r"study tiny, flip: train.freeze: the model has no part"):
        conduct(spec(variant={"flip": {"train.freeze": {"nose": 0.5}}}), tmp_path / "a")
    with pytest.raises(UsageError, match=r"study tiny, flip: augment.crop_pad_px must be below"):
        conduct(spec(variant={"flip": {"augment.crop_pad_px": 40}}), tmp_path / "b")
    with pytest.raises(UsageError, match="study tiny, flip: it would be scored on other images than control"):
        conduct(spec(variant={"flip": {"data.name": "glyphs:301"}}), tmp_path / "c")
    assert {path.name for path in tmp_path.iterdir()} <= {"cache"}


def test_names_that_no_file_system_takes_get_folders_all_the_same(tmp_path: Path):
    study = StudyFolder(tmp_path)
    names = ["a/b", "a_b", "x" * 300, "flip=none shift=0.1", "..", "ü"]
    folders = {study.run(name, 0).path for name in names}
    assert len(folders) == len(names)
    assert {folder.parent for folder in folders} == {tmp_path / "runs"}
    assert all(len(folder.name) < 120 for folder in folders)


def test_a_second_claim_on_the_same_test_images_is_told(finished: StudyFolder, tmp_path: Path):
    study = StudyFolder(tmp_path / "tiny")
    shutil.copytree(finished.path, study.path)
    reads.log_test_read(tmp_path, digest=study.plans()[-1].test_digest, run="other", verb="final")
    found = final(study, "flip", seeds=2, jobs=2)
    assert "have been read 2 times from here" in found.findings.cautions[0].text


@pytest.mark.parametrize(
    ("variant", "told"),
    [("control", "control is the control of study tiny; choose one of flip"), ("flop", "did you mean flip")],
)
def test_a_claim_is_about_a_variant(finished: StudyFolder, variant: str, told: str):
    with pytest.raises(UsageError, match=told):
        final(finished, variant)


def test_a_study_is_not_begun_twice_nor_from_nothing(finished: StudyFolder, tmp_path: Path):
    with pytest.raises(UsageError, match="study tiny has begun; go on with it by --resume"):
        conduct(spec(), finished.path)
    with pytest.raises(UsageError, match="there is no study new to go on with"):
        conduct(spec(), tmp_path / "new", resume=True)
    assert not (tmp_path / "new").exists()
    with folder_lock(finished.path), pytest.raises(Exception, match="is in use by process"):
        conduct(spec(), finished.path, resume=True)


def test_a_run_that_diverges_is_counted(tmp_path: Path):
    wild = {"optim.name": "sgd", "optim.lr": 1e38}
    conduct(spec(variant={"wild": wild}), tmp_path / "tiny", jobs=2)
    folder = StudyFolder(tmp_path / "tiny")
    entries = folder.ledger.entries()
    assert [entries["wild", seed].outcome for seed in (0, 1)] == ["diverged", "diverged"]
    assert "diverged at step" in entries["wild", 0].reason
    assert all(entries["wild", seed].whole_s > 0 for seed in (0, 1)), "what failed has its price too"
    lines = folder.ledger.path.read_text().splitlines(keepends=True)
    before = scores(folder)
    folder.ledger.path.write_text(lines[0])
    conduct(spec(variant={"wild": wild}), folder.path, jobs=1, resume=True)
    assert scores(folder) == before
    assert folder.account().findings.comparisons[0].lost == ("wild",)


def test_unequal_budgets_get_no_verdict_unless_declared(tmp_path: Path):
    changes = {"variant": {"longer": {"train.epochs": 3}}}
    found = conduct(spec(**changes), tmp_path / "one", jobs=2).findings
    assert found.contrast("longer") is None
    assert found.withheld[0].reason.startswith("unequal budgets: epochs 2 and 3, samples")
    assert 'unequal = ["epochs", "samples"]' in found.withheld[0].reason
    with pytest.raises(UsageError, match="gives no verdict on longer, nor would a claim: unequal budgets"):
        final(StudyFolder(tmp_path / "one"), "longer")
    found = conduct(spec(**changes, unequal=["epochs", "samples"]), tmp_path / "two", jobs=2).findings
    assert found.contrast("longer") is not None


def test_a_process_that_dies_begins_its_run_again_once(tmp_path: Path):
    class Killer(Listener):
        """Kills the process of every run of `flip` once it has begun."""

        def __init__(self, times: int) -> None:
            super().__init__()
            self.times = times

        def began(self, job: Job) -> None:
            super().began(job)
            if job.arm == "flip" and self.begun.count((job.arm, job.seed)) <= self.times:
                threading.Thread(target=self.kill, args=(Path(job.path), time.time())).start()

        def kill(self, run: Path, since: float) -> None:
            while not any(path.stat().st_mtime > since for path in run.glob(".lock")):
                time.sleep(0.01)
            for process in children():
                os.kill(process, signal.SIGKILL)

    once = Killer(1)
    conduct(spec(), tmp_path / "once", jobs=1, audience=once)
    entries = StudyFolder(tmp_path / "once").ledger.entries()
    assert all(entry.outcome == "finished" for entry in entries.values())
    assert once.begun.count(("flip", 0)) == 2

    twice = Killer(2)
    conduct(spec(), tmp_path / "twice", jobs=1, audience=twice)
    entry = StudyFolder(tmp_path / "twice").ledger.entries()["flip", 0]
    assert (entry.outcome, entry.reason) == ("failed", "its process was killed (signal 9)")


def children() -> list[int]:
    """The spawned workers of this process."""
    found = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True
    )
    return [int(line.split()[0]) for line in found.stdout.splitlines() if "spawn_main" in line]


ROOMS = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "benchmarks")]
COMMAND = """
import sys
from pathlib import Path
sys.path[:0] = {rooms!r}
from test_conduct import spec
from toynet.studies.conduct import conduct
if __name__ == "__main__":
    conduct(spec(seeds=3), Path(sys.argv[1]), jobs=2, resume=sys.argv[2] == "resume")
"""


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_study_loses_and_repeats_nothing(tmp_path: Path, blow: signal.Signals):
    script = tmp_path / "study.py"
    script.write_text(COMMAND.format(rooms=ROOMS))
    folder = StudyFolder(tmp_path / "killed")
    process = subprocess.Popen(
        [sys.executable, str(script), str(folder.path), "start"], stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (
        folder.ledger.path.exists() and len(folder.ledger.entries()) >= 2
    ):
        time.sleep(0.05)
    process.send_signal(blow)
    process.wait(timeout=60)
    process.stderr.close()
    before = {
        key: (folder.runs / f"{key[0]}-s{key[1]}" / "result.json").stat().st_mtime_ns
        for key in folder.ledger.entries()
    }
    assert 2 <= len(before) < 6
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and workers_of(folder):
        time.sleep(0.1)
    assert not workers_of(folder), "no process outlives the study"

    subprocess.run([sys.executable, str(script), str(folder.path), "resume"], check=True)
    assert len(folder.ledger.entries()) == 6
    after = {key: (folder.runs / f"{key[0]}-s{key[1]}" / "result.json").stat().st_mtime_ns for key in before}
    assert after == before

    whole = StudyFolder(tmp_path / "whole")
    conduct(spec(seeds=3), whole.path, jobs=2)
    assert scores(folder) == scores(whole)


@pytest.mark.parametrize(("blow", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_whole_group_saves_every_run(tmp_path: Path, blow: signal.Signals, code: int):
    """As a terminal's Ctrl-C and a supervisor do it: the study's processes get the signal as well."""
    file = tmp_path / "tiny.toml"
    file.write_text(toml(epochs=2000))
    process = subprocess.Popen(
        [Path(sys.executable).with_name("toynet"), "study", str(file), "--jobs", "2"],
        env=os.environ | {"TOYNET_STUDIES": str(tmp_path)},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    )
    folder = StudyFolder(tmp_path / "tiny")
    runs = [folder.run(arm, 0) for arm in ("control", "flip")]
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not all(
        (run.path / "metrics.jsonl").exists() and len(run.metrics()) >= 3 for run in runs
    ):
        time.sleep(0.05)
    os.killpg(process.pid, blow)
    _, told = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in told
    assert told.strip().splitlines()[-1] == "error: stopped; every run is saved, go on with --resume"
    assert told.count("error:") == 1
    assert folder.ledger.entries() == {}
    assert all(checkpoints.names(run.checkpoints) for run in runs)
    assert not workers_of(folder)


def workers_of(folder: StudyFolder) -> list[str]:
    """Processes that have files of the study open."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            maps = (process / "maps").read_text()
        except OSError:
            continue
        if str(folder.path) in maps:
            found.append(process.name)
    return found


def test_the_disk_refusing_ends_the_study(tmp_path: Path):
    engine = LocalEngine(jobs=1, threads=1)
    job = Job(arm="control", seed=0, recipe="", path=str(tmp_path / "run"), images=str(tmp_path / "nowhere"))
    entries: list[Entry] = []
    try:
        with pytest.raises(Exception, match="cannot be read"):
            carry_out(engine, [job], record=entries.append, watcher=Nobody(), stopped=lambda: False)
    finally:
        engine.close()
    assert entries == []
