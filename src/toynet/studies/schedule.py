"""Runs in their order, as many at once as an engine makes, each recorded as it ends."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from toynet.core.errors import Interrupted, ToyNetError
from toynet.studies.jobs import Answer, Job, Lost, failed
from toynet.studies.ledger import Entry


class Watcher(Protocol):
    """Is told what happens."""

    def began(self, job: Job) -> None: ...

    def ended(self, entry: Entry) -> None: ...


class Engine(Protocol):
    """Where runs are made. To be closed."""

    @property
    def jobs(self) -> int:
        """How many runs it makes at once, now."""

    @property
    def retries(self) -> int:
        """How often it begins a run again that was lost with its process or its machine."""

    def begin(self, job: Job) -> None:
        """Make one more run; the caller keeps to `jobs` of them."""

    def answers(self) -> Iterable[tuple[Job, Answer]]:
        """The runs that have ended since; waits for one, but not for long."""

    def close(self) -> None:
        """End all runs, after they have saved, and everything that was started for them."""


def carry_out(
    engine: Engine,
    jobs: Sequence[Job],
    *,
    record: Callable[[Entry], None],
    watcher: Watcher,
    stopped: Callable[[], int | None],
) -> None:
    """Make all runs, in order as there is room; `record` each as it ends, from this thread.

    A run that diverges or breaks is recorded as such, and so is one that is lost too often; one that was lost
    goes on from its folder. Raises `Interrupted` when `stopped` gives a signal's number, after every run has
    been saved; `ToyNetError` for what a user must mend first, such as a full disk.
    """
    waiting, busy = deque(jobs), 0
    lost: Counter[tuple[str, int]] = Counter()
    while waiting or busy:
        if number := stopped():
            engine.close()
            raise Interrupted("stopped; every run is saved, go on with --resume", signal_number=number)
        while waiting and busy < engine.jobs:
            job = waiting.popleft()
            engine.begin(job)
            watcher.began(job)
            busy += 1
        for job, answer in engine.answers():
            busy -= 1
            if isinstance(answer, Lost):
                if stopped():
                    waiting.append(job)  # a signal to all of us, not a fault of the run
                    break
                lost[job.arm, job.seed] += 1
                if lost[job.arm, job.seed] <= engine.retries:
                    waiting.appendleft(job)
                    continue
                answer = failed(job, answer.reason)
            if isinstance(answer, ToyNetError):
                raise answer
            record(answer)
            watcher.ended(answer)
