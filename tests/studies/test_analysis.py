"""What runs say: entries are invented, so that costs and outcomes are known."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from toynet.studies import analysis, design
from toynet.studies import conduct as room
from toynet.studies.design import Size
from toynet.studies.folder import StudyFolder
from toynet.studies.jobs import Job
from toynet.studies.ledger import Entry, pack
from toynet.studies.plan import Plan
from toynet.studies.spec import StudySpec

IMAGES = 2000
SIZE = Size(epochs=8, samples=64_000, parameters=10_000, macs=1_000_000)


def plan(*, seeds: object = 5, sizes: dict[str, Size] | None = None, **table: object) -> Plan:
    variants = table.pop("variant", {"flip": {"augment.flip": "random"}})
    spec = StudySpec.from_table("s", {"recipe": "quick", "seeds": seeds, "variant": variants, **table})
    arms = design.arms(spec)
    found = {arm.name: SIZE for arm in arms} | (sizes or {})
    return Plan(spec=spec, arms=arms, sizes=found, classes=10, digest="d", test_digest="t")


def run(arm: str, seed: int, accuracy: float = 0.8, **fields: object) -> Entry:
    right = np.random.default_rng([seed, len(arm)]).permutation(IMAGES) < round(accuracy * IMAGES)
    known = {
        "outcome": "finished",
        "val_accuracy": float(right.mean()),
        "train_s": 20.0,
        "whole_s": 22.0,
        "images_per_s": 50.0,
        "machine": "m",
        "correct": pack(right),
        "images": IMAGES,
    }
    return Entry.model_validate({"arm": arm, "seed": seed, **known, **fields})


def entries(*runs: Entry) -> dict[tuple[str, int], Entry]:
    return {(one.arm, one.seed): one for one in runs}


def blocks(count: int = 5, **fields: object) -> dict[tuple[str, int], Entry]:
    """Runs of both arms; `fields` are those of the variant's."""
    noise = np.random.default_rng(1).normal(0, 0.003, (count, 2))
    return entries(
        *(run("control", seed, 0.8 + noise[seed, 0]) for seed in range(count)),
        *(run("flip", seed, 0.85 + noise[seed, 1], **fields) for seed in range(count)),
    )


def codes(found: analysis.Findings) -> set[str]:
    return {caution.code for caution in found.cautions}


def test_a_clear_effect_is_found_and_nothing_else_is_said():
    found = analysis.analyse(plan(), blocks())
    assert found.contrast("flip").verdict == "helps"
    assert codes(found) == set()
    assert [cost.total_s for cost in found.costs] == [110.0, 110.0]
    assert found.costs[0].train_flops == 6 * SIZE.macs * SIZE.samples
    assert found.comparisons[0].family == 1


def test_arms_that_end_before_batch_norm_has_settled_are_named():
    """Twice 500 images in `quick`'s batches of 100 make ten passes."""
    short = SIZE.model_copy(update={"epochs": 2, "samples": 1000})
    (one,) = analysis.analyse(plan(sizes={"flip": short}), blocks()).cautions
    assert one.code == "few-steps"
    assert one.text.startswith("flip: too few steps for batch norm's averages to settle")
    both = analysis.analyse(plan(sizes={"control": short, "flip": short}), blocks()).cautions
    assert [caution.text.partition(":")[0] for caution in both] == ["every arm"]
    settling = {"flip": {"augment.flip": "random", "model.weights": "known.h5"}}
    assert "few-steps" not in codes(analysis.analyse(plan(sizes={"flip": short}, variant=settling), blocks()))


def test_a_chain_shares_its_error_among_all_pairs():
    chain = {"a": {"augment.flip": "random"}, "b": {"augment.shift": 0.1}, "c": {"optim.lr": 0.01}}
    runs = entries(*(run(arm, seed) for arm in ("control", *chain) for seed in range(5)))
    found = analysis.analyse(plan(variant=chain, chain=True), runs)
    assert [group.control for group in found.comparisons] == ["control", "a", "b"]
    assert {group.family for group in found.comparisons} == {3}


def test_a_withheld_arm_stays_in_the_family():
    wide = {"wide": {"model.widths": [8, 8, 8, 8]}, "flip": {"augment.flip": "random"}}
    large = SIZE.model_copy(update={"parameters": 20_000})
    runs = entries(*(run(arm, seed) for arm in ("control", *wide) for seed in range(5)))
    found = analysis.analyse(plan(variant=wide, sizes={"wide": large}), runs)
    assert found.withheld[0].reason == (
        'unequal budgets: parameters 10,000 and 20,000; to compare nevertheless, unequal = ["parameters"]'
    )
    assert found.comparisons[0].family == 2
    declared = analysis.analyse(plan(variant=wide, sizes={"wide": large}, unequal=["parameters"]), runs)
    assert declared.withheld == ()
    assert "wide does not cost what control does: parameters 2.00 times" in declared.cautions[0].text


def test_a_run_that_takes_longer_in_every_block_is_a_budget_of_its_own():
    found = analysis.analyse(plan(), blocks(train_s=30.0))
    assert "1.50 times control in the median" in found.withheld[0].reason
    assert 'unequal = ["time"]' in found.withheld[0].reason
    declared = analysis.analyse(plan(unequal=["time"]), blocks(train_s=30.0))
    assert declared.contrast("flip").verdict == "helps"
    assert codes(declared) == {"unequal-time"}
    slightly = analysis.analyse(plan(), blocks(train_s=22.0))
    assert codes(slightly) == {"unequal-time"}
    assert slightly.contrast("flip") is not None


def test_other_work_beside_a_run_is_not_its_own_time():
    runs = blocks(train_s=30.0)
    busy = {key: one.model_copy(update={"cpu_s": 21.0}) for key, one in runs.items()}
    assert analysis.analyse(plan(), busy).withheld == ()
    in_pieces = {
        key: one.model_copy(update={"cpu_s": None}) if key[0] == "flip" else one for key, one in busy.items()
    }
    assert "1.50 times control" in analysis.analyse(plan(), in_pieces).withheld[0].reason
    dear = {
        key: one.model_copy(update={"cpu_s": 30.0, "train_s": 20.0}) if key[0] == "flip" else one
        for key, one in busy.items()
    }
    assert "1.43 times control" in analysis.analyse(plan(), dear).withheld[0].reason


def test_time_that_is_not_slower_everywhere_or_too_short_to_be_measured_is_no_budget():
    runs = blocks(train_s=40.0)
    runs["flip", 2] = runs["flip", 2].model_copy(update={"train_s": 19.0})
    assert analysis.analyse(plan(), runs).withheld == ()
    short = {
        key: one.model_copy(update={"train_s": one.train_s / 10}) for key, one in blocks(train_s=40.0).items()
    }
    assert analysis.analyse(plan(), short).withheld == ()


def test_failures_are_counted_and_never_dropped():
    runs = blocks()
    lost = {"outcome": "diverged", "reason": "at step 3", "val_accuracy": None, "correct": "", "images": 0}
    runs["flip", 1] = runs["flip", 1].model_copy(update=lost)
    found = analysis.analyse(plan(), runs)
    assert found.comparisons[0].arms[1].failed == 1
    assert found.contrast("flip").seeds == 4
    assert any("1 of 5 runs failed" in caution.text for caution in found.all_cautions())


@pytest.mark.parametrize("fields", [{"machine": "other"}, {"threads": 2}])
def test_a_block_on_two_machines_is_told(fields: dict):
    runs = blocks()
    runs["flip", 3] = runs["flip", 3].model_copy(update=fields)
    found = analysis.analyse(plan(), runs)
    assert codes(found) == {"mixed-machines"}
    assert "(seeds 3)" in found.cautions[0].text


def test_what_the_design_does_is_told():
    two = {"two": {"augment.flip": "random", "optim.lr": 0.01}, "tta": {"eval.tta": "flip"}}
    runs = entries(*(run(arm, seed) for arm in ("control", *two) for seed in range(5)))
    found = analysis.analyse(plan(variant=two), runs)
    assert codes(found) == {"joint-effect", "evaluation"}
    best = {
        key: one.model_copy(update={"best_val_accuracy": one.val_accuracy}) for key, one in blocks().items()
    }
    assert "best-epoch" in codes(analysis.analyse(plan(metric="best_val_accuracy"), best))


def test_an_unfinished_study_says_what_it_can():
    runs = {key: one for key, one in blocks().items() if key[1] == 0}
    found = analysis.analyse(plan(), runs)
    assert found.comparisons == ()
    assert found.withheld[0].reason == "one seed so far together with control; it takes two at least"
    assert analysis.analyse(plan(), {}).withheld[0].reason.startswith("no seed so far")


def test_arms_that_are_undecided_go_on_with_their_control():
    variants = {"flip": {"augment.flip": "random"}, "same": {"optim.lr": 0.01}}
    noise = np.random.default_rng(3).normal(0, 0.004, (5, 3))
    means = {"control": 0.8, "flip": 0.9, "same": 0.8}
    runs = entries(
        *(
            run(arm, seed, mean + noise[seed, place])
            for place, (arm, mean) in enumerate(means.items())
            for seed in range(5)
        )
    )
    found = analysis.analyse(plan(seeds="auto", variant=variants), runs)
    assert found.contrast("flip").verdict == "helps"
    assert found.running == ("control", "same")
    assert found.next_look == 8


def test_a_control_that_diverged_takes_no_other_answer_with_it():
    chain = {"a": {"augment.flip": "random"}, "b": {"augment.shift": 0.2}, "c": {"optim.lr": 0.01}}
    runs = entries(*(run(arm, seed) for arm in ("control", *chain) for seed in range(5)))
    for seed in range(4):
        runs["a", seed] = runs["a", seed].model_copy(update={"outcome": "diverged", "val_accuracy": None})
    found = analysis.analyse(plan(variant=chain, chain=True), runs)
    assert found.contrast("c") is not None
    assert found.withheld[0].reason == "4 of 5 runs of a failed, so there is nothing to compare with"


def test_an_unfinished_study_is_not_judged_before_its_time():
    runs = {key: one for key, one in blocks(20).items() if key[1] < 7}
    found = analysis.analyse(plan(seeds=20), runs)
    assert found.contrast("flip").verdict == "description only"
    assert found.next_look == 20
    assert found.running == ("control", "flip")
    assert codes(found) == {"unfinished"}
    assert analysis.analyse(plan(seeds=20), blocks(20)).contrast("flip").verdict == "helps"


def test_a_diverged_run_has_no_best_epoch():
    runs = {key: one.model_copy(update={"best_val_accuracy": 0.9}) for key, one in blocks().items()}
    runs["flip", 0] = runs["flip", 0].model_copy(update={"outcome": "diverged"})
    found = analysis.analyse(plan(metric="best_val_accuracy"), runs)
    assert found.comparisons[0].arms[1].failed == 1


FACTORS = {"augment.flip": ["none", "random"], "optim.lr": [0.004, 0.001]}


def cells(count: int = 5, sizes: dict[str, Size] | None = None) -> tuple[Plan, dict[tuple[str, int], Entry]]:
    spec = StudySpec.from_table("s", {"recipe": "quick", "seeds": count, "factors": FACTORS})
    arms = design.arms(spec)
    noise = np.random.default_rng(2).normal(0, 0.003, (count, len(arms)))
    means = [0.8 + 0.05 * arm.levels[0] for arm in arms]
    runs = entries(
        *(
            run(arm.name, seed, means[place] + noise[seed, place])
            for place, arm in enumerate(arms)
            for seed in range(count)
        )
    )
    found = {arm.name: SIZE for arm in arms} | (sizes or {})
    return Plan(spec=spec, arms=arms, sizes=found, classes=10, digest="d", test_digest="t"), runs


def test_factors_have_effects_over_whole_blocks_only():
    whole, runs = cells()
    effects = analysis.analyse(whole, runs).factorial
    assert effects["augment.flip"].effect == pytest.approx(5, abs=0.5)
    assert effects.blocks == 5
    last = whole.arms[-1].name
    runs[last, 2] = runs[last, 2].model_copy(update={"outcome": "diverged", "val_accuracy": None})
    found = analysis.analyse(whole, runs)
    assert (found.factorial.blocks, found.seeds) == (4, 4)
    assert any("the factors' effects do without their whole seeds (2)" in c.text for c in found.cautions)


def test_factors_get_no_effects_where_a_cell_is_unfair_or_missing():
    whole, runs = cells()
    last = whole.arms[-1].name
    unfair = whole.model_copy(update={"sizes": whole.sizes | {last: SIZE.model_copy(update={"epochs": 9})}})
    assert analysis.analyse(unfair, runs).factorial is None
    del runs[last, 4]
    assert analysis.analyse(whole, runs).factorial is None


@pytest.mark.parametrize(("seen", "left"), [(0, False), (500, True), (IMAGES, False)])
def test_a_claim_is_judged_without_the_images_that_were_trained_on(seen: int, left: bool):
    claim = plan()
    changed = {"spec": claim.spec.model_copy(update={"metric": "test_accuracy"}), "seen": tuple(range(seen))}
    runs = {key: one.model_copy(update={"test_accuracy": one.val_accuracy}) for key, one in blocks().items()}
    found = analysis.analyse(claim.model_copy(update=changed), runs)
    assert (found.unseen is not None) == left
    assert ("seen-in-training" in codes(found)) == bool(seen)
    assert found.contrast("flip").verdict == "helps"
    if left:
        kept = [np.mean(runs["control", seed].correctness()[seen:]) for seed in range(5)]
        assert found.unseen.arms[0].mean == pytest.approx(100 * np.mean(kept))


def test_effects_of_factors_do_not_outlive_failures_that_they_would_not_survive():
    whole, runs = cells(8)
    assert analysis.analyse(whole, runs).capped == ()
    on = [arm.name for arm in whole.arms if arm.levels[0]]
    for seed in (1, 4, 6):
        for arm in on:
            runs[arm, seed] = runs[arm, seed].model_copy(update={"outcome": "diverged", "val_accuracy": None})
    found = analysis.analyse(whole, runs)
    assert found.factorial["augment.flip"].effect > 4
    assert found.capped[0] == "augment.flip"
    told = f"no verdict on {', '.join(found.capped)}: none is known to survive scoring failures as chance"
    assert any(told in caution.text for caution in found.cautions)


def test_effects_of_factors_are_not_corrected_for_looks_and_that_is_told():
    whole, runs = cells()
    looking = whole.model_copy(update={"spec": whole.spec.model_copy(update={"seeds": "auto"})})
    assert "looks-at-effects" in codes(analysis.analyse(looking, runs))
    assert "looks-at-effects" not in codes(analysis.analyse(whole, runs))


def test_a_hundred_classes_at_chance_are_compared():
    runs = entries(*(run(arm, seed, 0.01) for arm in ("control", "flip") for seed in range(5)))
    hard = plan().model_copy(update={"classes": 100})
    assert analysis.analyse(hard, runs).comparisons[0].arms[0].mean == pytest.approx(1.0)


def three_arms(seed: int, count: int) -> dict[tuple[str, int], Entry]:
    """The arm a, much better, has five seeds; control and b, which are equal, have `count`."""
    noise = np.random.default_rng(seed).normal(0, 0.012, (count, 3))
    return entries(
        *(
            run(arm, number, mean + noise[number, place])
            for place, (arm, mean) in enumerate({"control": 0.8, "a": 0.87, "b": 0.8}.items())
            for number in range(5 if arm == "a" else count)
        )
    )


@pytest.mark.parametrize("late", ["b", "control", "slow b"])
def test_what_comes_after_an_arms_look_does_not_change_its_verdict(late: str):
    variants = {"a": {"augment.flip": "random"}, "b": {"optim.lr": 0.01}}
    looking, runs = plan(seeds="auto", variant=variants), three_arms(2, 8)
    first = analysis.analyse(looking, {key: one for key, one in runs.items() if key[1] < 5})
    assert first.contrast("a").verdict.startswith("helps")
    assert first.running == ("control", "b")
    if late == "slow b":
        for number in range(8):
            slower = 1.2 if number < 5 else 2.0
            runs["b", number] = runs["b", number].model_copy(update={"train_s": 20 * slower})
    else:
        runs[late, 6] = runs[late, 6].model_copy(update={"outcome": "stopped_early"})
    found = analysis.analyse(looking, runs)
    assert found.contrast("a") == first.contrast("a")
    withheld = [one.arm for one in found.withheld]
    assert withheld == ([] if late == "slow b" else ["b"])
    assert (found.contrast("b") is None) == (late != "slow b")


def test_an_arm_that_was_cut_short_after_its_look_asks_for_nothing_more():
    runs = three_arms(2, 8)
    runs = {key: one for key, one in runs.items() if key[0] != "a"}
    runs["b", 6] = runs["b", 6].model_copy(update={"outcome": "stopped_early"})
    found = analysis.analyse(plan(seeds="auto", variant={"b": {"optim.lr": 0.01}}), runs)
    assert [one.arm for one in found.withheld] == ["b"]
    assert (found.running, found.next_look) == ((), None)


class Lossy:
    """An engine that invents runs and loses one of them as long as it is ill."""

    jobs, retries = 1, 0

    def __init__(self, *, ill: bool) -> None:
        self.ill, self.waiting, self.made = ill, list[Job](), list[tuple[str, int]]()

    def begin(self, job: Job) -> None:
        self.waiting.append(job)
        self.made.append((job.arm, job.seed))

    def answers(self) -> Iterator[tuple[Job, Entry]]:
        job = self.waiting.pop()
        if self.ill and (job.arm, job.seed) == ("flip", 6):
            yield job, Entry(arm=job.arm, seed=job.seed, outcome="failed", reason="its process was killed")
        else:
            noise = np.random.default_rng([job.seed, len(job.arm)]).normal(0, 0.006)
            yield job, run(job.arm, job.seed, 0.8 + noise)

    def close(self) -> None:
        pass


def test_a_lost_run_beyond_the_first_look_is_made_again_and_that_is_told(tmp_path: Path):
    looking, folder = plan(seeds="auto", margin=0.05), StudyFolder(tmp_path)
    folder.ledger.write_plan(looking.model_dump(mode="json"))

    def go_on(engine: Lossy) -> analysis.Findings:
        places = {"control": ".", "flip": "."}
        return room._look_by_look(
            folder, looking.spec, looking, places, engine, room.Nobody(), lambda: None
        ).findings

    ill, well = Lossy(ill=True), Lossy(ill=False)
    assert "rerun" not in codes(go_on(ill))
    assert ill.made.count(("flip", 6)) == 1
    found = go_on(well)
    assert well.made == [("flip", 6)]
    assert any(
        "1 run that had failed, made again on --resume (flip seed 6)" in caution.text
        for caution in found.cautions
    )
    assert go_on(Lossy(ill=False)) == found
