import json
from pathlib import Path

import pytest

from toynet.training.choice import Timing
from toynet.training.remembered import Entry, recall, remember
from toynet.training.setup import Setup

SETUP = Setup(precision="bf16", kernels="compiled", memory_format="channels_last", threads=2)
ENTRY = Entry(best=SETUP, timings=(Timing(setup=SETUP, seconds=0.4),))


def test_entries_are_kept_side_by_side(tmp_path: Path):
    memory = tmp_path / "deep" / "m.json"
    assert recall(memory, "a") == Entry()
    assert remember(memory, "a", ENTRY)
    assert remember(memory, "b", Entry())
    assert recall(memory, "a") == ENTRY
    assert recall(memory, "b") == Entry()


def test_a_new_timing_takes_the_place_of_the_old(tmp_path: Path):
    other = SETUP.model_copy(update={"threads": 1})
    again = ENTRY.with_timings([Timing(setup=SETUP, seconds=0.3), Timing(setup=other, seconds=0.7)])
    assert {timing.setup: timing.seconds for timing in again.timings} == {SETUP: 0.3, other: 0.7}
    assert again.best == SETUP


@pytest.mark.parametrize(
    "content",
    ["garbage", "[]", "", '{"a": 3}', '{"a": {"best": 1}}', '{"a": [1.0, 0.5]}', '{"a": {"timings": [{}]}}'],
)
def test_what_is_damaged_or_of_another_version_is_found_anew(tmp_path: Path, content: str):
    memory = tmp_path / "m.json"
    memory.write_text(content)
    assert recall(memory, "a") == Entry()
    assert remember(memory, "a", ENTRY)
    assert recall(memory, "a") == ENTRY


def test_a_damaged_entry_leaves_its_neighbours_alone(tmp_path: Path):
    memory = tmp_path / "m.json"
    remember(memory, "a", ENTRY)
    memory.write_text(json.dumps({**json.loads(memory.read_text()), "b": "?"}))
    assert recall(memory, "a") == ENTRY
    assert recall(memory, "b") == Entry()


def test_a_memory_that_cannot_be_written_is_done_without(tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert not remember(tmp_path / "file" / "m.json", "a", ENTRY)
