"""What is frozen before the first run of a study."""

from pydantic import Field

from toynet.core.errors import UsageError, did_you_mean
from toynet.core.records import Record
from toynet.runs.recipe import Recipe
from toynet.studies.design import Arm, Size
from toynet.studies.spec import StudySpec


class Effort(Record):
    """Settings that had been tried before, with what the arm has and with what its control has instead."""

    arm: int
    control: int


class Plan(Record):
    """It is journaled; a study goes on only with the same, or with more seeds. The control comes first."""

    spec: StudySpec
    arms: tuple[Arm, ...]
    sizes: dict[str, Size]
    classes: int
    digest: str
    """Of all the images."""

    test_digest: str
    test_reads: int = 0
    """Final claims: how often these test images have been read from here, this time included."""

    seen: tuple[int, ...] = ()
    """Final claims: the test images, by number, that are among the training images too, pixel for pixel."""

    tuning: dict[str, Effort] = Field(default_factory=dict)
    """For each arm that is compared, as it was before the first run."""

    @property
    def control(self) -> Arm:
        return self.arms[0]

    def replicate(self, arm: str, seed: int) -> Recipe:
        """What the run of `arm` with `seed` trains: the same split for every arm, and for every seed unless
        the study varies it."""
        recipe = self.arm(arm).recipe
        changes = {"train.seed": seed}
        if self.spec.vary_split:
            changes["data.split_seed"] = recipe.data.split_seed + seed
        return recipe.with_changes(changes)

    def arm(self, name: str) -> Arm:
        """Raises `UsageError` that names the nearest one."""
        for arm in self.arms:
            if arm.name == name:
                return arm
        known = [arm.name for arm in self.arms]
        raise UsageError(f"study {self.spec.name} has no arm {name}; {did_you_mean(name, known)}")
