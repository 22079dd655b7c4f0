"""What a comparison finds, as frozen records. Scores and differences are accuracy points (pp)."""

from typing import Literal

from pydantic import ConfigDict

from toynet.core.errors import UsageError, did_you_mean
from toynet.core.records import Record

Looking = Literal["fixed", "auto", "open"]
"""`fixed`: judged once, at the end. `auto`: judged at 5, 8, 12 and 20 seeds. `open`: judged after every seed
from the fifth on, without end."""

Verdict = Literal[
    "helps",
    "helps (size uncertain)",
    "hurts",
    "hurts (size uncertain)",
    "real but too small to matter",
    "no meaningful difference",
    "undecided",
    "description only",
]
"""The words of a verdict; `description only` where there is too little to judge by."""


class _Figures(Record):
    # An interval may be unbounded, and JSON has no number for that.
    model_config = ConfigDict(ser_json_inf_nan="strings")


class Interval(_Figures):
    """From `low` to `high`; unbounded before an open-ended plan can say anything."""

    low: float
    high: float


class Caution(Record):
    """One thing that a reader of the verdicts must know."""

    code: str
    text: str


class ArmScores(_Figures):
    """One arm, the control or a variant, over the seeds that count for its verdict."""

    name: str
    mean: float | None
    """None where no run finished."""

    sigma: float | None
    """Standard deviation across seeds; none below two finished runs."""

    floor: float | None
    """The part of `sigma` that luck with the finite test set makes; none without per-image results."""

    real_spread: float | None
    """What `sigma` leaves above the floor: how much the seeds' true quality varies."""

    planned: int
    failed: int


class Contrast(_Figures):
    """One variant against the control, over `seeds` blocks in which both finished."""

    variant: str
    difference: float
    """Mean of variant - control."""

    error: float
    """Standard error of the difference across seeds, on these test images."""

    df: int
    interval: Interval
    """Simultaneous 95 % interval on this test set: it holds for the whole family together, at every look."""

    new_images: Interval | None
    """The same for new images of the same kind; none without per-image results."""

    image_error: float | None
    """The standard error that the choice of test images adds. More seeds do not shrink it."""

    p: float
    """Adjusted for the family (Holm), not for looks: under `auto` hold it against 0.0164, roughly, and let
    the interval decide. Under `open` it may be read at any time."""

    improvement: float
    """Probability that a run of the variant beats one of the control, over all pairings; ties count half."""

    improvement_interval: Interval
    """95 %, of this variant alone."""

    smallest_visible: float
    """The true difference that this many seeds would tell from zero 4 times in 5."""

    verdict: Verdict
    further_seeds: int | None
    """Undecided only: about how many seeds until the interval is too narrow to stay undecided."""

    seeds: int
    pooled: bool
    """Whether the spread is pooled over all arms; else it is this pair's own."""

    words: str
    sentence: str


class Comparison(_Figures):
    """All variants against one control: `comparison["dropout"].verdict`."""

    control: str
    plan: Looking
    margin: float
    """Differences below this do not matter."""

    family: int
    """How many contrasts, here and in other comparisons, share the 5 %."""

    contrasts: tuple[Contrast, ...]
    lost: tuple[str, ...]
    """Variants that finished fewer than two blocks with the control, so that there is nothing to compare."""

    arms: tuple[ArmScores, ...]
    """The control first."""

    sigma: float | None
    """The spread of a run across seeds once what its block shares is taken out; none where nothing can be
    said. `rho` is the correlation that the sharing makes."""

    rho: float | None
    cautions: tuple[Caution, ...]
    running: tuple[str, ...]
    """Variants for which the plan wants more seeds; the control always goes on with them."""

    next_look: int | None
    """How many seeds these variants should have at the plan's next look."""

    def __getitem__(self, variant: str) -> Contrast:
        for contrast in self.contrasts:
            if contrast.variant == variant:
                return contrast
        if variant in self.lost:
            raise UsageError(f"{variant} finished fewer than two seeds together with {self.control}")
        raise UsageError(f"there is no variant {variant!r}; {did_you_mean(variant, self.variants)}")

    @property
    def variants(self) -> tuple[str, ...]:
        return tuple(arm.name for arm in self.arms[1:])
