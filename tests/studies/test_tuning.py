"""What had been tried before a study: journals beside it are written as studies write them."""

import shutil
import tomllib
from pathlib import Path

import pytest
from tiny_study import toml

from toynet.studies import analysis, design
from toynet.studies.conduct import conduct
from toynet.studies.design import Size
from toynet.studies.final import final
from toynet.studies.folder import StudyFolder
from toynet.studies.ledger import Entry
from toynet.studies.plan import Effort, Plan
from toynet.studies.spec import StudySpec
from toynet.studies.tuning import efforts

SIZE = Size(epochs=2, samples=1000, parameters=10_000, macs=1_000_000)
RATES = {f"lr{k}": {"optim.lr": 0.01 * k} for k in range(1, 6)}


def plan(variants: dict, *, digest: str = "d", **everywhere: object) -> Plan:
    spec = StudySpec.from_table("s", {"recipe": "quick", "seeds": 5, "variant": variants, "set": everywhere})
    arms = design.arms(spec)
    sizes = {arm.name: SIZE for arm in arms}
    return Plan(spec=spec, arms=arms, sizes=sizes, classes=10, digest=digest, test_digest="t")


def write(root: Path, name: str, planned: Plan, made: list[str]) -> None:
    folder = StudyFolder(root / name)
    folder.path.mkdir()
    folder.ledger.write_plan(planned.model_dump(mode="json"))
    for arm in made:
        folder.ledger.write_run(Entry(arm=arm, seed=0, outcome="finished"))


FLIP = {"flip": {"augment.flip": "random"}}


def test_other_settings_of_either_side_are_counted_once(tmp_path: Path):
    write(tmp_path, "rates", plan(RATES), ["control", *RATES])
    write(tmp_path, "rates-again", plan(RATES), ["control", *RATES])
    write(tmp_path, "flipped", plan({"lr1": RATES["lr1"]}, **{"augment.flip": "random"}), ["control", "lr1"])
    assert efforts(StudyFolder(tmp_path / "new"), plan(FLIP)) == {"flip": Effort(arm=1, control=5)}


def test_planned_runs_other_images_and_other_models_are_not_trials(tmp_path: Path):
    write(tmp_path, "planned", plan(RATES), ["control", "lr1"])
    write(tmp_path, "elsewhere", plan(RATES, digest="e"), list(RATES))
    write(tmp_path, "wider", plan(RATES, **{"model.widths": [8, 8, 8, 8]}), list(RATES))
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "journal.jsonl").write_text("{}\n{}\n")
    assert efforts(StudyFolder(tmp_path / "new"), plan(FLIP)) == {"flip": Effort(arm=0, control=1)}


@pytest.mark.parametrize(
    ("effort", "told"),
    [((0, 2), False), ((0, 3), True), ((3, 0), True), ((2, 3), False), ((2, 6), True), ((0, 0), False)],
)
def test_only_a_clear_difference_is_told(effort: tuple[int, int], told: bool):
    known = plan(FLIP).model_copy(update={"tuning": {"flip": Effort(arm=effort[0], control=effort[1])}})
    cautions = [one for one in analysis.analyse(known, {}).cautions if one.code == "unequal-tuning"]
    assert bool(cautions) == told
    if told:
        assert f"{effort[0]} other settings had been tried" in cautions[0].text


def test_a_study_keeps_what_was_true_at_its_start_and_its_claim_too(tmp_path: Path):
    def spec(name: str, variants: dict) -> StudySpec:
        return StudySpec.from_table(name, {**tomllib.loads(toml()), "variant": variants})

    pilot = StudyFolder(tmp_path / "pilot")
    conduct(spec("pilot", RATES), pilot.path, jobs=2)
    assert pilot.plans()[-1].tuning == {name: Effort(arm=0, control=0) for name in RATES}
    study = StudyFolder(tmp_path / "flip")
    conduct(spec("flip", FLIP), study.path, jobs=2)
    assert study.plans()[-1].tuning == {"flip": Effort(arm=0, control=5)}
    shutil.rmtree(pilot.path)
    again = conduct(spec("flip", FLIP), study.path, jobs=2, resume=True)
    assert "unequal-tuning" in {one.code for one in again.findings.all_cautions()}
    claim = final(study, "flip", seeds=2, jobs=2)
    assert claim.plan.tuning == {"flip": Effort(arm=0, control=5)}
