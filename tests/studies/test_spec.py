import math
from pathlib import Path

import pytest

from toynet.core.errors import UsageError
from toynet.studies import design
from toynet.studies import spec as spec_room
from toynet.studies.spec import StudySpec

MINIMAL = {"recipe": "quick", "variant": {"fast": {"optim.lr": 0.01}}}


def load(**changes: object) -> StudySpec:
    return StudySpec.from_table("mine", {**MINIMAL, **changes})


def test_settings_to_try_need_names_of_their_own():
    twins = StudySpec.trying("quick", {"train.batch_size": 64, "eval.batch_size": 64})
    assert [variant.name for variant in twins.variants] == ["train.batch_size=64", "eval.batch_size=64"]
    one = StudySpec.trying("quick", {"model.widths": [8, 8, 8, 8], "optim.lr": 1e-3}, {"seeds": 3})
    assert (one.name, one.seeds) == ("quick-widths=_8__8__8__8_-lr=0.001", 3)
    assert one.variants[0].changes == {"model.widths": [8, 8, 8, 8]}


def test_a_file_becomes_a_study(tmp_path: Path):
    file = tmp_path / "dropout.toml"
    file.write_text(
        'question = "Does it help?"\nrecipe = "quick"\nseeds = 8\nmargin = 0.3\nunequal = ["macs"]\n'
        '[set]\n"train.epochs" = 4\noptim.lr = 0.1\n'
        '[variant.a]\nnote = "half"\n"model.dropout" = 0.5\n[variant.b]\nrecipe = "default"\n'
    )
    found = StudySpec.load(str(file))
    assert (found.name, found.question, found.seeds, found.margin) == ("dropout", "Does it help?", 8, 0.3)
    assert found.everywhere == {"train.epochs": 4, "optim.lr": 0.1}
    assert [(v.name, v.recipe, v.note, v.changes) for v in found.variants] == [
        ("a", None, "half", {"model.dropout": 0.5}),
        ("b", "default", "", {}),
    ]
    assert StudySpec.load(str(file), {"seeds": "auto", "margin": None}).seeds == "auto"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90 s", 90), ("45min", 2700), ("2.5 h", 9000), (None, math.inf)]
)
def test_a_budget_is_a_time(text: str | None, seconds: float):
    assert load(budget=text).budget_s == seconds


def test_a_factor_needs_two_values_and_a_margin_an_end():
    with pytest.raises(UsageError, match=r"study mine: factors: optim\.lr: name two different values"):
        StudySpec.from_table("mine", {"recipe": "quick", "factors": {"optim.lr": [4e-3, 0.004]}})
    with pytest.raises(UsageError, match=r"study mine: margin: .*finite"):
        load(margin=math.inf)


def test_tables_as_values_stay_whole():
    found = load(variant={"frozen": {"train.freeze": {"stack1": 0.5}}})
    assert found.variants[0].changes == {"train.freeze": {"stack1": 0.5}}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"quesiton": "?"}, "quesiton is not a setting; did you mean question?"),
        ({"seeds": 1}, "seeds"),
        ({"seeds": "often"}, "seeds"),
        ({"margin": 0}, "margin: input should be greater than 0, got 0"),
        ({"budget": "2 days"}, 'budget: write a time, such as "45 min"'),
        ({"budget": 30}, "budget"),
        ({"variant": {}}, r"needs either \[variant.NAME\] tables or a \[factors\] table"),
        ({"variant": {"control": {"optim.lr": 1}}}, "is not 'control'"),
        ({"variant": {"../up": {"optim.lr": 1}}}, "a variant's name has letters"),
        ({"variant": {"same": {}}}, "variant.same changes nothing"),
        ({"variant": {"same": {"note": "nothing"}}}, "variant.same changes nothing"),
        ({"variant": 3}, r"write each as a table, \[variant.NAME\]"),
        ({"factors": {"optim.lr": [1, 2]}}, "needs either"),
        ({"unequal": ["money"]}, "unequal.0"),
        ({"variant": {}, "factors": {"optim.lr": [1, 2]}, "chain": True}, "chain is for variants"),
        ({"variant": {}, "factors": {"optim.lr": [1, 2, 3]}}, "factors.optim.lr"),
        (
            {"variant": {}, "factors": {"optim.lr": [1, 2]}, "generated": {"optim.lr": ["a", "b"]}},
            "generated.optim.lr: name a factor, and two or more others",
        ),
    ],
)
def test_what_cannot_be_is_one_line_that_names_the_study(changes: dict, told: str):
    with pytest.raises(UsageError, match=rf"^study mine: .*{told}") as caught:
        load(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nowhere.toml", "cannot be read"),
        ("quickstrat", "there is no study quickstrat; did you mean quickstart"),
    ],
)
def test_a_study_that_is_not_there(name: str, told: str):
    with pytest.raises(UsageError, match=told):
        StudySpec.load(name)


def test_what_is_no_toml_is_told(tmp_path: Path):
    file = tmp_path / "odd.toml"
    file.write_text("question = ")
    with pytest.raises(UsageError, match=r"odd\.toml: not TOML"):
        StudySpec.load(str(file))


@pytest.mark.parametrize("name", spec_room.shipped())
def test_every_shipped_study_is_sound_and_begins_with_its_command(name: str):
    text = spec_room.source(name)
    assert text.startswith(f"# toynet study {name}\n")
    assert StudySpec.load(name).question.endswith("?")


@pytest.mark.parametrize("key", ["train.seed", "train.threads", "eval.test"])
def test_what_is_the_studys_own_is_refused_by_name(key: str):
    for table in ({"set": {key: 1}}, {"variant": {"a": {key: 1}}}):
        with pytest.raises(UsageError, match=f"{key}: "):
            load(**table)


def test_a_recipes_file_is_looked_for_beside_the_study(tmp_path: Path):
    (tmp_path / "base.toml").write_text('extends = "quick"\n')
    file = tmp_path / "s.toml"
    file.write_text('recipe = "base.toml"\nseeds = 5\n[variant.a]\nrecipe = "base.toml"\n"optim.lr" = 0.1\n')
    found = StudySpec.load(str(file))
    assert found.recipe == found.variants[0].recipe == str(tmp_path / "base.toml")


def test_factors_may_be_written_both_ways():
    table = {
        "recipe": "quick",
        "seeds": 5,
        "factors": {"optim": {"lr": [1e-3, 1e-2]}, "augment.shift": [0.0, 0.1]},
    }
    assert set(StudySpec.from_table("s", table).factors) == {"optim.lr", "augment.shift"}


def test_precision_that_an_arm_states_is_a_change():
    found = design.arms(load(variant={"a": {"train.precision": "bf16", "optim.lr": 0.1}}))
    assert set(found[1].factors) == {"train.precision", "optim.lr"}
