"""The page's fixed words: what each verdict and each caution means to a reader, and numbers."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from toynet.core.wording import counted
from toynet.stats.records import Caution, Interval

MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Word:
    """A verdict as it is shown. tone: the class that colours it; mark: tells it apart without colour."""

    tone: str
    mark: str
    meaning: str


VERDICTS = {
    "helps": Word("good", "▲", "The whole interval lies above the margin: better, and by enough to matter."),
    "helps (size uncertain)": Word(
        "good", "△", "Better for certain, but the interval reaches inside the margin: perhaps by too little."
    ),
    "hurts": Word("bad", "▼", "The whole interval lies below minus the margin: worse, and enough to matter."),
    "hurts (size uncertain)": Word(
        "bad", "▽", "Worse for certain, but the interval reaches inside the margin: perhaps by too little."
    ),
    "real but too small to matter": Word(
        "even", "≈", "The interval excludes zero, yet all of it lies within the margin."
    ),
    "no meaningful difference": Word(
        "even",
        "=",
        "The interval holds zero and lies within the margin: a difference that matters is ruled out.",
    ),
    "undecided": Word(
        "open", "?", "The interval holds zero and reaches beyond the margin: these seeds cannot tell."
    ),
    "description only": Word(
        "open",
        "–",
        "Fewer than five seeds, or no spread at all: the numbers are shown, no verdict is drawn.",
    ),
}
INTERACTIONS = {  # what the verdict on an effect says when the effect is that of two factors together
    "helps": Word("good", "▲", "more than their sum"),
    "helps (size uncertain)": Word("good", "△", "more than their sum (size uncertain)"),
    "hurts": Word("bad", "▼", "less than their sum"),
    "hurts (size uncertain)": Word("bad", "▽", "less than their sum (size uncertain)"),
    "real but too small to matter": Word("even", "≈", "too small to matter"),
    "no meaningful difference": Word("even", "=", "no dependence that matters"),
    "undecided": Word("open", "?", "undecided"),
    "description only": Word("open", "–", "description only"),
}
NO_VERDICT = Word("open", "×", "The comparison would not be fair, or too few runs finished.")
AWAITED = "no verdict yet"
NOT_YET = Word("open", "…", "The plan's first look is still to come; before it there are no verdicts.")

_CAUTIONS = {  # code: title, and what to do about it
    "joint-effect": (
        "Several keys changed at once",
        "Give every change a variant of its own, or name the keys under [factors] and run all combinations.",
    ),
    "evaluation": (
        "Evaluated in another way",
        "Move the key that begins with eval. into [set], so that all arms are evaluated alike.",
    ),
    "looks-at-effects": (
        "Effects are not corrected for looks",
        "For a claim about a factor, run the study with a fixed number of seeds.",
    ),
    "best-epoch": (
        "The best epoch is scored",
        'Take metric = "val_accuracy", the score of the last epoch, for any claim.',
    ),
    "seen-in-training": (
        "Some test images were trained on",
        "Quote the figures without them. Only equal images are known; `toynet data copies` finds more.",
    ),
    "unequal-tuning": (
        "One side has been tuned more",
        "Try as many settings around the other side, or read the difference as that of two tunings.",
    ),
    "few-steps": (
        "Too few steps for batch norm",
        "Give the runs more epochs or images; until then a difference says little of what was learnt.",
    ),
    "varied-split": (
        "The split varies with the seed",
        "Nothing needs doing: what follows single images over seeds (floor, new images) is left out.",
    ),
    "mixed-machines": (
        "Machines or versions are mixed",
        "Repeat these seeds on one machine; until then a difference may be the machine's.",
    ),
    "unequal-cost": (
        "The arms do not cost the same",
        "Read the difference beside its price in the table of costs; a fairer control spends as much.",
    ),
    "unequal-time": (
        "The arms do not take the same time",
        "Read the difference beside its price; times hold for this machine and its load on that day only.",
    ),
    "failures": (
        "Runs failed",
        "Read the reasons in the list of failed runs; a change that makes training fail has its price.",
    ),
    "few-seeds": (
        "Too few seeds",
        'Run at least 5 seeds of each arm; a study with seeds = "auto" stops by itself.',
    ),
    "no-spread": (
        "A difference without spread",
        "Make sure that the change reaches the training, and that scores are kept unrounded.",
    ),
    "unequal-variance": (
        "The arms differ in spread",
        "Nothing needs doing: wider intervals are used. An arm that varies more is less reliable in use.",
    ),
    "raised-to-floor": (
        "Seeds agree better than luck allows",
        "Nothing needs doing: the intervals are widened. More evaluation images would narrow them.",
    ),
    "image-error": (
        "The choice of images dominates",
        "For a claim about new images, evaluate on more images; more seeds do not help.",
    ),
    "test-reads": (
        "The test images have been read before",
        "Say so beside the claim; images that nobody has looked at make it stronger.",
    ),
    "unfinished": (
        "The study has not ended",
        "Go on with the study: the command that began it and --resume. Verdicts that are given already hold.",
    ),
    "seeds-added": (
        "Seeds were added after a look",
        "Treat the verdict as a hint and repeat the study; plan with --seeds auto next time.",
    ),
    "rerun": (
        "Runs were made again",
        "Nothing needs doing where the machine failed; a repeat chosen by its outcome would favour an arm.",
    ),
    "unused-seeds": (
        "Some seeds are not counted",
        "Nothing needs doing: a verdict is that of the look at which its arm stopped.",
    ),
}

_METRICS = {
    "val_accuracy": "validation accuracy",
    "best_val_accuracy": "best validation accuracy of all epochs",
    "test_accuracy": "test accuracy",
}


@dataclass(frozen=True)
class Warned:
    """A warning in full: what it is, what was seen, what to do."""

    title: str
    texts: tuple[str, ...]
    advice: str


def warned(cautions: Iterable[Caution], arms: Iterable[str]) -> tuple[Warned, ...]:
    """The cautions with their lessons, those of a kind together; one that is not known here keeps its code as
    a title. A text that begins with the name of one of the `arms` keeps its first letter.
    """
    known = tuple(arms)
    kinds: dict[str, list[str]] = {}
    for caution in cautions:
        first = caution.text[:1] if caution.text.startswith(known) else caution.text[:1].upper()
        kinds.setdefault(caution.code, []).append(f"{first}{caution.text[1:]}.")
    return tuple(_warned(code, tuple(texts)) for code, texts in kinds.items())


def _warned(code: str, texts: tuple[str, ...]) -> Warned:
    title, advice = _CAUTIONS.get(code, (code.replace("-", " ").capitalize(), ""))
    return Warned(title, texts, advice)


def metric(name: str) -> str:
    """`val_accuracy` as a reader calls it."""
    return _METRICS.get(name, name.replace("_", " "))


def images(metric_name: str) -> str:
    """Which images a metric is measured on."""
    return "test" if metric_name.startswith("test") else "validation"


def test_reads(count: int) -> str:
    """How often the test images of a final claim have been read: what follows `Test set`."""
    if not count:
        return "read at least once from here; how often is not on record"
    return f"read {counted(count, 'time')} from here, this claim included"


def signed(value: float, digits: int = 2) -> str:
    """`+0.41`, with a true minus; `0.00` has no sign."""
    if math.isinf(value):
        return "+∞" if value > 0 else f"{MINUS}∞"
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", MINUS)


def bounds(interval: Interval) -> str:
    """`[+0.12, +0.70]`, to three digits where two would hide the width."""
    digits = digits_for(interval)
    low, high = (_bound(value, digits) for value in (interval.low, interval.high))
    return f"[{low},\N{NO-BREAK SPACE}{high}]"


def _bound(value: float, digits: int) -> str:
    """Signed even where it rounds to zero, for the side of zero it lies on decides the verdict."""
    return signed(value) if math.isinf(value) else f"{value:+.{digits}f}".replace("-", MINUS)


def digits_for(interval: Interval) -> int:
    return 3 if interval.high - interval.low < 0.1 else 2


def number(count: int) -> str:
    """Small counts as words."""
    names = (
        "no",
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
    )
    return names[count] if 0 <= count < len(names) else str(count)


def listed(parts: list[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def duration(seconds: float | None) -> str:
    """`45 s`, `12.3 min`, `4.1 h`."""
    if seconds is None:
        return "–"
    for limit, unit, size in ((100, "s", 1), (6000, "min", 60)):
        if seconds < limit:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 3600:,.1f} h"


def magnitude(value: float | None, unit: str = "") -> str:
    """`6.38 M`, `404 M`, `1.21 PFLOP`."""
    if value is None:
        return "–"
    for size, prefix in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if float(f"{value:.3g}") >= size:
            return f"{f'{value / size:#.3g}'.rstrip('.')} {prefix}{unit}"
    return f"{value:.3g} {unit}".rstrip()


def percent(share: float | None, digits: int = 2) -> str:
    """A fraction as `92.31 %`."""
    return "–" if share is None else f"{100 * share:.{digits}f} %"
