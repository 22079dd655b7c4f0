"""Whether batch norm's moving averages, which stand for a batch's own in evaluation, have left their start.

They begin at mean 0 and variance 1 and move with every forward pass in training. After few steps a network
that has learnt is evaluated through what says nothing of its maps, and guesses.
"""

import math
from collections.abc import Mapping

NEWEST = {"speednet": 0.4}
NEWEST_ELSEWHERE = 0.01
"""What the newest pass weighs in the averages, by model; as the models say, which load torch."""

SETTLED = 0.05
"""Of what they began as."""


def remainder(settings: Mapping[str, object], passes: int) -> float:
    """The share of the averages that is still what they began as, after so many forward passes in training.

    settings: the recipe's values by dotted key. 0 where it begins with weights, for averages come with them.
    """
    if settings.get("model.weights"):
        return 0.0
    newest = NEWEST.get(str(settings.get("model.name")), NEWEST_ELSEWHERE)
    return float((1 - newest) ** passes)


def epochs_to_settle(remains: float, epochs: int) -> int:
    """How many epochs it takes, where after so many of them a share between 0 and 1 remains."""
    return math.ceil(epochs * math.log(SETTLED) / math.log(remains))
