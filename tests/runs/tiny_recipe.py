"""A recipe that is small work, and what it trains on."""

from toynet.core.reporter import Silent
from toynet.runs.recipe import Recipe
from toynet.speed import images

TINY = {
    "data.name": "glyphs:240",
    "model.name": "toynet12",
    "model.widths": [4, 8, 8, 8],
    "train.epochs": 1,
    "train.batch_size": 40,
}
CARD = images.card(Recipe.load("quick").data, None, Silent())


def recipe(**changes: object) -> Recipe:
    return Recipe.load("quick", {**TINY, **changes})
