"""What is told of a plan before its first run."""

from pathlib import Path
from typing import Any

import invented
import pytest

from toynet.cli import study_plan

FACTORS = {"model.dropout": [0.0, 0.4], "augment.flip": ["none", "random"], "augment.shift": [0.0, 0.2]}
GENERATED = {"augment.shift": ["model.dropout", "augment.flip"]}


def told(place: Path, larger: list[str] | None = None, **changes: Any) -> list[str]:
    account = invented.study(place, invented.spec(**changes), {}, seeds=0, larger=larger or [])
    return list(study_plan.lines(account.plan, 2))


def test_each_arm_is_told_with_what_it_changes(tmp_path: Path):
    lines = told(tmp_path)
    assert lines[0] == "control quick · 4 variants · val accuracy · seeds 5 · 2 runs at once"
    varied = told(tmp_path / "varied", vary_split=True, variant={"flip": {"augment.flip": "random"}})
    assert varied[0] == (
        "control quick · 1 variant · val accuracy · seeds 5, each on a split of its own · 2 runs at once"
    )
    names = [line.split(":")[0].strip() for line in lines[1:5]]
    assert names == ["shift", "flip", "dropout", "tiny_rotation"]
    assert "-> 0.4" in lines[3]


def test_arms_that_will_get_no_verdict_are_named(tmp_path: Path):
    lines = told(tmp_path, larger=["flip"])
    wanted = (
        "flip will get no verdict: unequal budgets: macs 38,400,000 and 76,800,000; "
        'to compare nevertheless, unequal = ["macs"]'
    )
    assert [line for line in lines if "no verdict" in line] == [wanted]


def test_budgets_that_are_declared_unequal_are_not(tmp_path: Path):
    assert not [line for line in told(tmp_path, larger=["flip"], unequal=["macs"]) if "no verdict" in line]


def test_aliases_of_a_fraction_are_a_line_each(tmp_path: Path):
    lines = told(tmp_path, variant={}, factors=FACTORS, generated=GENERATED)
    aliases = [line for line in lines if line.startswith("effect of")]
    assert len(aliases) == 3
    assert any("model.dropout: not to be told from" in line and "flip x augment" in line for line in aliases)


def test_all_combinations_have_no_aliases(tmp_path: Path):
    assert not [line for line in told(tmp_path, variant={}, factors=FACTORS) if "effect of" in line]


def test_variants_that_could_be_factors_get_a_hint(tmp_path: Path):
    assert told(tmp_path)[-1].startswith("hint: these 4 variants change one key each; as [factors]")


@pytest.mark.parametrize(
    "changes",
    [
        {"variant": {"a": {"model.dropout": 0.2}, "b": {"model.dropout": 0.3}, "c": {"augment.shift": 0.2}}},
        {"variant": {"a": {"model.dropout": 0.2}, "b": {"augment.shift": 0.2}}},
        {
            "variant": {
                "a": {"model.dropout": 0.2, "loss.label_smoothing": 0.1},
                "b": {"augment.shift": 0.2},
                "c": {"augment.flip": "random"},
            }
        },
        {"chain": True},
        {"variant": {}, "factors": FACTORS},
    ],
    ids=["one key twice", "two variants", "a joint change", "a chain", "factors"],
)
def test_others_get_none(tmp_path: Path, changes: dict[str, Any]):
    assert not [line for line in told(tmp_path, **changes) if line.startswith("hint")]
