"""The order of runs, and what becomes of those that are lost, on an engine that is a list."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from toynet.core.errors import Interrupted, ToyNetError
from toynet.studies.conduct import Nobody
from toynet.studies.jobs import Answer, Job, Lost
from toynet.studies.ledger import Entry
from toynet.studies.schedule import carry_out

JOBS = [Job(arm=arm, seed=seed, recipe="", path="", images="") for seed in (0, 1) for arm in "abc"]


@dataclass
class Rehearsed:
    """Answers as it was told to, by arm; without being told, a run finishes."""

    jobs: int = 2
    retries: int = 3
    told: dict[str, list[Answer]] = field(default_factory=dict)
    begun: list[tuple[str, int]] = field(default_factory=list)
    busy: list[Job] = field(default_factory=list)
    most: int = 0
    closed: bool = False

    def begin(self, job: Job) -> None:
        self.begun.append((job.arm, job.seed))
        self.busy.append(job)
        self.most = max(self.most, len(self.busy))

    def answers(self) -> Iterable[tuple[Job, Answer]]:
        job = self.busy.pop(0)
        told = self.told.get(f"{job.arm}{job.seed}")
        yield job, told.pop(0) if told else Entry(arm=job.arm, seed=job.seed, outcome="finished")

    def close(self) -> None:
        self.closed = True


def made(engine: Rehearsed, stopped=lambda: None) -> list[Entry]:
    entries: list[Entry] = []
    carry_out(engine, JOBS, record=entries.append, watcher=Nobody(), stopped=stopped)
    return entries


@pytest.mark.parametrize("jobs", [1, 2, 100])
def test_runs_are_made_in_order_as_many_at_once_as_there_is_room(jobs: int):
    engine = Rehearsed(jobs=jobs)
    assert [(entry.arm, entry.seed) for entry in made(engine)] == [(job.arm, job.seed) for job in JOBS]
    assert engine.most == min(jobs, len(JOBS))


@pytest.mark.parametrize("losses", [1, 3])
def test_a_lost_run_is_begun_again_before_those_that_wait(losses: int):
    engine = Rehearsed(jobs=1, told={"b0": [Lost(reason="gone")] * losses})
    assert all(entry.outcome == "finished" for entry in made(engine))
    assert engine.begun[: losses + 3] == [("a", 0), *[("b", 0)] * (losses + 1), ("c", 0)]


def test_a_run_that_is_lost_too_often_has_failed_and_the_others_go_on():
    engine = Rehearsed(told={"b0": [Lost(reason=f"gone {number}") for number in range(4)]})
    entries = {(entry.arm, entry.seed): entry for entry in made(engine)}
    assert len(entries) == len(JOBS)
    assert (entries["b", 0].outcome, entries["b", 0].reason) == ("failed", "gone 3")
    assert engine.begun.count(("b", 0)) == 4
    assert [entry.outcome for entry in entries.values()].count("finished") == 5


def test_what_a_user_must_mend_ends_all():
    engine = Rehearsed(told={"c0": [ToyNetError("the disk is full")]})
    with pytest.raises(ToyNetError, match="the disk is full"):
        made(engine)
    assert ("b", 1) not in engine.begun


def test_a_signal_ends_all_after_they_have_saved_and_is_no_fault_of_a_run():
    signals = iter([None, None, 15, 15, 15])
    engine = Rehearsed(jobs=1, told={"b0": [Lost(reason="the signal reached it too")]})
    with pytest.raises(Interrupted, match="every run is saved") as found:
        made(engine, stopped=lambda: next(signals))
    assert found.value.exit_code == 143
    assert engine.closed
    assert engine.begun == [("a", 0), ("b", 0)]
