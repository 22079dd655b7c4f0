from pathlib import Path

import pytest

from toynet.core.errors import UsageError
from toynet.studies import design
from toynet.studies.design import Size
from toynet.studies.folder import StudyFolder
from toynet.studies.plan import Plan
from toynet.studies.spec import StudySpec


def arms(**table: object) -> tuple[design.Arm, ...]:
    return design.arms(StudySpec.from_table("mine", {"recipe": "quick", **table}))


def test_each_arm_is_the_control_but_for_what_it_names():
    control, fast, wide = arms(
        set={"train.epochs": 3},
        variant={"fast": {"optim.lr": 0.5}, "wide": {"model.widths": [8, 8, 8, 8], "optim.lr": 0.5}},
    )
    assert control.against is None
    assert {arm.recipe.train.epochs for arm in (control, fast, wide)} == {3}
    assert [str(change) for change in fast.changes] == [f"optim.lr: {control.recipe.optim.lr} -> 0.5"]
    assert [change.key for change in wide.changes] == ["model.widths", "optim.lr"]
    assert {fast.against, wide.against} == {"control"}
    assert not any(arm.recipe.eval.test for arm in (control, fast, wide)), "no study reads test images"


def test_a_chain_compares_with_the_arm_before():
    _, one, two = arms(chain=True, variant={"one": {"optim.lr": 0.5}, "two": {"optim.lr": 0.6}})
    assert (one.against, two.against) == ("control", "one")
    assert [str(change) for change in two.changes] == ["optim.lr: 0.5 -> 0.6"]


def test_another_recipe_as_a_variant_tells_all_that_differs():
    _, other = arms(variant={"other": {"recipe": "report/toynet14_with_dropout", "data.name": "glyphs"}})
    assert {"schedule.name", "train.epochs"} <= {change.key for change in other.changes}


def test_an_identical_arm_changes_nothing():
    control = arms(variant={"again": {"optim.lr": 0.5}})[0]
    assert arms(variant={"again": {"optim.lr": control.recipe.optim.lr}})[1].changes == ()


def test_tables_that_appear_are_told():
    control, shrunk = arms(variant={"shrunk": {"train.small": {"side_px": 24, "until": 0.5}}})
    assert control.recipe.train.small is None
    assert [str(change) for change in shrunk.changes] == [
        "train.small: none -> {side_px = 24, by = resize, until = 0.5}"
    ]
    assert shrunk.factors == ("train.small",), "one thing, to which an effect can be put down"
    _, later = arms(
        set={"train.small": {"side_px": 24, "until": 0.5}}, variant={"later": {"train.small.until": 0.7}}
    )
    assert [str(change) for change in later.changes] == ["train.small.until: 0.5 -> 0.7"]


def test_combinations_of_factors_are_arms():
    cells = arms(factors={"augment.flip": ["none", "random"], "model.dropout": [0.0, 0.3]})
    assert [arm.levels for arm in cells] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [arm.name for arm in cells[1:]] == [
        "flip=none dropout=0.3",
        "flip=random dropout=0.0",
        "flip=random dropout=0.3",
    ]
    assert cells[0].name == "control"
    assert [str(change) for change in cells[2].changes] == ["augment.flip: none -> random"]
    assert cells[3].recipe.model.dropout == 0.3


def test_a_fraction_runs_fewer_and_keeps_the_control():
    factors = {"augment.flip": ["none", "random"], "model.dropout": [0, 0.3], "optim.nesterov": [True, False]}
    cells = arms(factors=factors, generated={"optim.nesterov": ["augment.flip", "model.dropout"]})
    assert [arm.levels for arm in cells] == [(0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 0)]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            {"optim.lrr": 1},
            "study mine, odd: recipe quick: optim.lrr is not a setting; did you mean optim.lr?",
        ),
        ({"optim.lr": -1}, "study mine, odd: recipe quick: optim.lr"),
        ({"recipe": "quikc"}, "study mine, odd: .*quikc.*did you mean quick"),
        ({"data.protocol": "full"}, "study mine, odd: .*studies read validation"),
    ],
)
def test_an_impossible_arm_is_named(change: dict, told: str):
    with pytest.raises(UsageError, match=told):
        arms(variant={"odd": change})


def test_budgets_that_differ_are_found():
    base = Size(epochs=10, samples=1000, parameters=100, macs=1000)
    assert design.unfair(base, base) == {}
    assert design.unfair(base, base.model_copy(update={"parameters": 105, "macs": 951})) == {}
    other = Size(epochs=11, samples=1001, parameters=106, macs=949)
    assert design.unfair(base, other) == {
        "epochs": (10, 11),
        "samples": (1000, 1001),
        "parameters": (100, 106),
        "macs": (1000, 949),
    }


def test_a_schedule_is_one_factor_with_what_only_it_has():
    step = {"schedule.name": "step", "schedule.boundaries_epochs": [2], "schedule.factors": [0.1]}
    found = arms(variant={"step": step, "both": step | {"optim.lr": 0.01}})
    assert found[1].factors == ("schedule",)
    assert set(found[2].factors) == {"schedule", "optim.lr"}
    assert len(found[2].changes) > 2


def test_a_factors_level_stays_its_own_through_the_journal(tmp_path: Path):
    """The journal sorts keys; levels kept by place then told of another factor."""
    factors = {"model.dropout": [0.0, 0.4], "augment.flip": ["none", "random"]}
    spec = StudySpec.from_table("mixed", {"recipe": "quick", "seeds": 2, "factors": factors})
    arms = design.arms(spec)
    size = Size(epochs=1, samples=1, parameters=1, macs=1)
    sizes = {arm.name: size for arm in arms}
    plan = Plan(spec=spec, arms=arms, sizes=sizes, classes=10, digest="", test_digest="")
    folder = StudyFolder(tmp_path)
    folder.ledger.write_plan(plan.model_dump(mode="json"))
    read = folder.plans()[-1]
    for arm in read.arms:
        levels = dict(zip(read.spec.factors, arm.levels, strict=True))
        settings = arm.recipe.settings()
        assert levels == {key: values.index(settings[key]) for key, values in factors.items()}
