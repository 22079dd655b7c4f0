"""How many settings have been tried around each arm: a side that was tuned more looks better than it is."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from toynet.core.errors import ToyNetError
from toynet.studies.design import Arm, settings_that_count
from toynet.studies.folder import StudyFolder
from toynet.studies.plan import Effort, Plan

_TUNED = ("optim.", "schedule.", "loss.", "augment.", "train.", "model.dropout")
"""Settings that are chosen by trying; in the others two recipes are not the same thing, differently tuned."""

Settings = Mapping[str, Any]


def efforts(folder: StudyFolder, plan: Plan) -> dict[str, Effort]:
    """For each arm that is compared, as the journals beside `folder` tell it."""
    tried = list(_tried(folder, plan))
    found: dict[str, Effort] = {}
    for arm in plan.arms:
        if arm.against is not None:
            keys = [change.key for change in arm.changes]
            mine, theirs = (_around(one, keys, tried) for one in (arm, plan.arm(arm.against)))
            found[arm.name] = Effort(arm=mine, control=theirs)
    return found


def _tried(folder: StudyFolder, plan: Plan) -> Iterator[Settings]:
    """Each recipe that was trained on these images, once."""
    seen: list[Settings] = []
    for other in folder.neighbours():
        try:
            theirs = other.plans()[-1]
            made = {arm for arm, _ in other.ledger.entries()} if theirs.digest == plan.digest else ()
        except ToyNetError:
            continue  # a damaged neighbour is none of our business
        for settings in (settings_that_count(arm.recipe) for arm in theirs.arms if arm.name in made):
            if settings not in seen:
                seen.append(settings)
                yield settings


def _around(arm: Arm, keys: Collection[str], tried: Collection[Settings]) -> int:
    """Those that share with `arm` what sets it apart, its `keys`, and all that is not tuned."""
    mine = settings_that_count(arm.recipe)

    def fixed(settings: Settings) -> Settings:
        apart = tuple(f"{key}." for key in keys)
        return {
            key: value
            for key, value in settings.items()
            if f"{key}.".startswith(apart) or not key.startswith(_TUNED)
        }

    return sum(fixed(other) == fixed(mine) and other != mine for other in tried)
