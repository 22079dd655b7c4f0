"""What a reading of curves can find, in words to learn from, and the changes it may suggest."""

from collections.abc import Mapping
from typing import Literal

from toynet.core.records import Record

Severity = Literal["serious", "moderate", "note"]
Settings = Mapping[str, object]
Change = dict[str, bool | int | float | str]

DROPOUT = 0.5  # the report's, before the dense layer
GENTLER = 0.5  # factor on the learning rate

_LESSONS = {  # code: title, and what to learn from it
    "diverged": (
        "The run diverged",
        "A step that overshoots makes the next gradient larger still, until numbers overflow.",
    ),
    "not-learning": (
        "Nothing was learnt",
        "Steps may be too short to move the weights, or the first ones were so long that the network died: "
        "try a learning rate ten times higher, and one ten times lower.",
    ),
    "lr-too-high": (
        "The learning rate is too high",
        "Steps that are too long leap back and forth across the minimum instead of settling into it.",
    ),
    "val-restless": (
        "Validation is restless while the learning rate is high",
        "The report's authors read this as too high a rate. Sound runs show it as well, so it is a hint that "
        "half the rate deserves a study.",
    ),
    "lr-drop-gain": (
        "The first drop of the learning rate brought a sudden gain",
        "A lower rate lets the weights settle. Sound runs show this as well, so alone it is only a hint that "
        "a lower rate or an earlier drop deserves a study.",
    ),
    "lr-too-low": (
        "The learning rate is too low",
        "Steps that are too short spend the epochs on the way; a sound rate shows some unrest at first.",
    ),
    "not-converged": (
        "Training has not converged",
        "A curve that still falls has more to give; let a run end its schedule, and compare equal lengths.",
    ),
    "overfitting": (
        "The model overfits",
        "It remembers what is peculiar to the training images. Augmentation and dropout lower the training "
        "accuracy, so the true gap is wider.",
    ),
    "val-loss-rising": (
        "Validation loss rises while training loss falls",
        "The model grows surer of all its answers, the wrong ones included; accuracy may hold meanwhile.",
    ),
    "dead-activations": (
        "Channels are dead",
        "A ReLU that is never positive gets no gradient; too large a step usually pushed it there.",
    ),
    "exploding-activations": (
        "Activations explode",
        "Values that grow from layer to layer overflow; normalisation and smaller steps keep them in range.",
    ),
    "class-fails": (
        "One class fails",
        "Look at its images before turning knobs: too few, wrong labels, or an augmentation that turns one "
        "class into another.",
    ),
    "no-validation": (
        "Nothing was validated",
        "Training curves alone show neither overfitting nor an unsteady model.",
    ),
    "too-short": ("Too short to judge", "The first epochs of good and of bad runs look alike."),
    "few-steps": (
        "Too few steps for batch norm",
        "Its moving averages leave their start slowly; until then validation and test fall short of what was "
        "learnt, at worst to chance, and nothing can be read from them.",
    ),
    "nothing-stands-out": (
        "Nothing stands out",
        "What is left to gain is of the size that two seeds differ by; a study with several seeds can tell.",
    ),
}


class Finding(Record):
    """One reading of a run. `change` holds one dotted recipe key and the value to try, or nothing."""

    code: str
    title: str
    evidence: str
    why: str
    change: Change
    severity: Severity


def finding(code: str, evidence: str, change: Change, severity: Severity) -> Finding:
    """The finding called `code` with this run's numbers."""
    title, why = _LESSONS[code]
    return Finding(code=code, title=title, evidence=evidence, why=why, change=change, severity=severity)


def scaled(settings: Settings, key: str, factor: float) -> Change:
    """`key` times `factor` in the value's own type, rounded to two digits; nothing when it is unset."""
    value = settings.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not value:
        return {}
    return {key: round(value * factor) if isinstance(value, int) else float(f"{value * factor:.2g}")}


def regularised(settings: Settings) -> Change:
    """Dropout before the dense layer, or label smoothing where there is enough of that."""
    dropout = settings.get("model.dropout")
    if isinstance(dropout, int | float) and dropout < DROPOUT:
        return {"model.dropout": DROPOUT}
    return {} if settings.get("loss.label_smoothing", 1.0) else {"loss.label_smoothing": 0.1}
