"""What the API answers, typed. Accuracies and probabilities are fractions, times UTC."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from toynet.core.records import EpochRecord, RunResult
from toynet.evaluation.findings import Finding

RunStatus = Literal["running", "finished", "stopped_early", "diverged", "stopped", "damaged"]
"""`stopped`: neither ended nor at work; toynet train --resume goes on with it."""

StudyStatus = Literal["running", "finished", "stopped", "damaged"]
CellStatus = Literal["finished", "stopped_early", "diverged", "failed", "running", "stopped", "planned"]


class Answer(BaseModel):
    """A frozen value; what is not a number (a damaged record) is null."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="null")


class Failure(Answer):
    """Why a request was refused, in one sentence."""

    error: str


class Health(Answer):
    status: Literal["ok"] = "ok"
    version: str


class RunSummary(Answer):
    """A run as the list shows it. `val_accuracy`: of the last epoch while there is no result."""

    name: str
    status: RunStatus
    started: datetime
    recipe: str | None = None
    data: str | None = None
    seed: int | None = None
    epochs: int = 0
    planned_epochs: int | None = None
    val_accuracy: float | None = None
    test_accuracy: float | None = None
    damage: str | None = None
    """What is wrong with a run that is `damaged`."""


class RunList(Answer):
    total: int
    runs: tuple[RunSummary, ...]


class RunDetail(RunSummary):
    """`image_shape`: height, width, channels. `findings`: what the curves look like, by rules of thumb."""

    classes: tuple[str, ...] = ()
    image_shape: tuple[int, ...] = ()
    result: RunResult | None = None
    findings: tuple[Finding, ...] = ()
    recipe_toml: str | None = None


class Metrics(Answer):
    """The epochs after the one asked for, in order."""

    status: RunStatus
    planned_epochs: int
    epochs: tuple[EpochRecord, ...]


class StudySummary(Answer):
    """`runs`: those that have ended; `planned_runs`: of the plan as far as it is known now."""

    name: str
    status: StudyStatus
    changed: datetime
    question: str | None = None
    arms: int = 0
    runs: int = 0
    planned_runs: int = 0
    damage: str | None = None


class StudyList(Answer):
    total: int
    studies: tuple[StudySummary, ...]


class Cell(Answer):
    """One run of a study. score: percent. run: its name in /api/runs, where its folder is there."""

    seed: int
    status: CellStatus
    score: float | None = None
    epochs: int = 0
    planned_epochs: int = 0
    run: str | None = None


class Bounds(Answer):
    """An interval's ends."""

    low: float
    high: float


class Arm(Answer):
    """`difference`, `interval` (95 %): in points, against the arm it is compared with."""

    name: str
    against: str | None
    changes: tuple[str, ...]
    verdict: str | None = None
    difference: float | None = None
    interval: Bounds | None = None
    cells: tuple[Cell, ...] = ()


class StudyDetail(StudySummary):
    """`answers`: what the study says, in sentences."""

    metric: str | None = None
    answers: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    table: tuple[Arm, ...] = ()


class ModelState(Answer):
    """Whether a run's model is in memory; asking begins to load it."""

    run: str
    state: Literal["ready", "loading"]
    classes: tuple[str, ...] = ()
    image_shape: tuple[int, ...] = ()
    calibrated: bool = False


class Guess(Answer):
    name: str
    probability: float


class Prediction(Answer):
    """`guesses`: the likeliest first. `seen`: the picture as the model gets it; `heat`: where it looked for
    its first guess (Grad-CAM), laid over that. Both are PNG as data addresses.
    """

    run: str
    guesses: tuple[Guess, ...]
    calibrated: bool
    seen: str
    heat: str | None = None
    heat_missing: str | None = None
    """Why there is none though it was asked for."""

    milliseconds: float = Field(ge=0)
    """To decode, classify and explain."""
