"""How fast a model answers: the evaluation's own pass over images in memory."""

import torch

from toynet.evaluation import predict
from toynet.runs import subject
from toynet.runs.folder import DataCard
from toynet.runs.recipe import Recipe
from toynet.speed.clock import repeat
from toynet.speed.images import noise
from toynet.speed.records import Inference, Spread
from toynet.training import precision
from toynet.training.setup import prepare, stated

_FEWEST, _MOST = 3, 100


def inference(recipe: Recipe, card: DataCard, seconds: float) -> Inference:
    """Score batches of random images, as `recipe` evaluates, for about `seconds`."""
    device = precision.device()
    model = subject.build_model(recipe, card).to(device)
    prepare(model, stated(recipe.train))
    classify, images = subject.classifier(recipe, card, device), noise(card, recipe.eval.batch_size)
    found = repeat(lambda: classify(model, images), device, seconds=seconds, fewest=_FEWEST, most=_MOST)
    return Inference(
        batch_size=recipe.eval.batch_size,
        tta=recipe.eval.tta,
        views=len(predict.views(torch.empty(1, 1, *card.image_shape[:2]), recipe.eval.tta)),
        images_per_s=Spread.of([len(images) / taken for taken in found]),
    )
