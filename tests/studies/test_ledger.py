import time
import zlib
from pathlib import Path

import numpy as np
import pytest

from toynet.core.errors import ToyNetError
from toynet.studies.folder import StudyFolder
from toynet.studies.ledger import FORMAT, Entry, Ledger, pack

ENTRY = Entry(arm="control", seed=3, outcome="finished", val_accuracy=0.5, val_loss=1.0, whole_s=2.0)


def test_runs_come_back_by_arm_and_seed_and_the_last_line_counts(tmp_path: Path):
    ledger = Ledger(tmp_path)
    assert ledger.plans() == []
    assert ledger.entries() == {}
    ledger.write_plan({"seeds": 5})
    ledger.write_run(ENTRY)
    ledger.write_run(ENTRY.model_copy(update={"arm": "flip", "outcome": "failed", "reason": "killed"}))
    ledger.write_run(ENTRY.model_copy(update={"val_accuracy": 0.75}))
    assert ledger.plans() == [{"seeds": 5}]
    found = ledger.entries()
    assert list(found) == [("control", 3), ("flip", 3)]
    assert found["control", 3].val_accuracy == 0.75
    assert found["flip", 3].reason == "killed"


def test_runs_that_had_failed_and_were_made_again_are_known(tmp_path: Path):
    ledger = Ledger(tmp_path)
    failed = {"outcome": "failed", "reason": "killed"}
    ledger.write_run(ENTRY)
    ledger.write_run(ENTRY)
    ledger.write_run(ENTRY.model_copy(update={"seed": 4, **failed}))
    assert ledger.repeated() == set()
    ledger.write_run(ENTRY.model_copy(update={"seed": 4}))
    ledger.write_run(ENTRY.model_copy(update={"seed": 5, **failed}))
    assert ledger.repeated() == {("control", 4)}


@pytest.mark.parametrize("images", [1, 7, 8, 5000])
def test_correctness_survives_packing(images: int):
    correct = np.random.default_rng(images).random(images) < 0.9
    entry = ENTRY.model_copy(update={"correct": pack(correct), "images": images})
    again = Entry.model_validate_json(entry.model_dump_json())
    assert np.array_equal(again.correctness(), correct)
    assert len(entry.correct) <= 4 + images / 5.9


def test_a_torn_last_line_is_left_out_and_written_over(tmp_path: Path):
    ledger = Ledger(tmp_path)
    ledger.write_run(ENTRY)
    with ledger.path.open("a") as file:
        file.write('{"run":{"arm":"flip","se')
    assert list(ledger.entries()) == [("control", 3)]
    ledger.write_run(ENTRY.model_copy(update={"seed": 4}))
    assert list(ledger.entries()) == [("control", 3), ("control", 4)]


def test_duplicated_lines_change_nothing(tmp_path: Path):
    ledger = Ledger(tmp_path)
    ledger.write_plan({"seeds": 2})
    ledger.write_run(ENTRY)
    ledger.write_plan({"seeds": 3})
    ledger.path.write_bytes(ledger.path.read_bytes() * 2)
    assert ledger.plans() == [{"seeds": 2}, {"seeds": 3}]
    assert ledger.entries() == {("control", 3): ENTRY}


def test_a_flipped_bit_is_named_by_its_line_and_old_lines_without_crc_are_read(tmp_path: Path):
    ledger = Ledger(tmp_path)
    ledger.path.write_text('{"plan":{"seeds":2}}\n')
    ledger.write_run(ENTRY)
    ledger.write_run(ENTRY.model_copy(update={"seed": 4}))
    assert ledger.plans() == [{"seeds": 2}]
    content = ledger.path.read_bytes()
    ledger.path.write_bytes(content.replace(b'"val_accuracy":0.5', b'"val_accuracy":0.4', 1))
    with pytest.raises(
        ToyNetError, match=r"line 2 is damaged \(its content does not match its CRC\).*--resume"
    ):
        ledger.entries()
    ledger.path.write_bytes(content.replace(b'"crc"', b'"brc"', 1))
    with pytest.raises(ToyNetError, match="record 2 is neither a plan nor a run"):
        ledger.entries()


def test_a_journal_of_the_first_version_is_read():
    """The one under results/ was written before the second."""
    kept = Path(__file__).parents[2] / "results" / "studies" / "quickstart"
    assert '"format":2' not in (kept / "journal.jsonl").read_text()
    account = StudyFolder(kept).account()
    verdicts = {
        name: account.findings.contrast(name).verdict for name in ("flip", "rotation", "tiny_rotation")
    }
    assert verdicts == {
        "flip": "hurts",
        "rotation": "helps (size uncertain)",
        "tiny_rotation": "undecided",
    }
    assert (account.plan.seen, account.plan.tuning, account.plan.spec.vary_split) == ((), {}, False)


def test_a_journal_of_a_newer_version_is_told(tmp_path: Path):
    Ledger(tmp_path).path.write_text(f'{{"format":{FORMAT + 1},"plan":{{}}}}\n')
    with pytest.raises(ToyNetError, match="newer ToyNet"):
        Ledger(tmp_path).plans()


@pytest.mark.parametrize("line", ['{"run": {"arm": "x"}}', "[1, 2]", '{"run": '])
def test_a_damaged_line_is_told(tmp_path: Path, line: str):
    ledger = Ledger(tmp_path)
    ledger.path.write_text(f"{line}\n")
    ledger.write_run(ENTRY)
    with pytest.raises(ToyNetError, match=r"journal\.jsonl.* damaged"):
        ledger.entries()


def test_ten_thousand_runs_load_in_two_seconds(tmp_path: Path):
    correct = np.random.default_rng(0).random(5000) < 0.9
    entry = ENTRY.model_copy(update={"correct": pack(correct), "images": 5000})
    text = entry.model_dump_json()
    with Ledger(tmp_path).path.open("w") as file:
        for seed in range(10_000):
            rest = '"run":' + text.replace('"seed":3', f'"seed":{seed}') + "}\n"
            file.write(f'{{"crc":"{zlib.crc32(rest.encode()):08x}",{rest}')
    started = time.process_time()
    assert len(Ledger(tmp_path).entries()) == 10_000
    assert time.process_time() - started < 2
