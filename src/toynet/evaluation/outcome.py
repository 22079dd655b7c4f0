"""What a trained network shows by itself: the outputs of its layers and the scores of its classes."""

from collections.abc import Sequence

import numpy as np

from toynet.core.records import LayerActivation
from toynet.evaluation.findings import GENTLER, Finding, Settings, finding, scaled
from toynet.evaluation.metrics import ClassScore

DEAD_SHARE = 0.5  # half of a layer's channels silent is beyond what trained networks usually show
EXPLODING = 1e4  # float16 ends at 6.5e4; normalised networks stay below 1e2
WEAK_RECALL, WEAK_ERROR, WEAK_T = 0.15, 1.8, 3.0  # below the mean; times mean error; standard errors


def from_layers(layers: Sequence[LayerActivation], settings: Settings) -> list[Finding]:
    """Layers whose outputs explode, and those with dead channels."""
    wild = [layer for layer in layers if not layer.finite or layer.max_abs > EXPLODING]
    dead = [layer for layer in layers if layer.dead_fraction >= DEAD_SHARE]
    change, found = scaled(settings, "optim.lr", GENTLER), []
    if wild:
        worst = max(wild, key=lambda layer: (not layer.finite, layer.max_abs))
        size = f"reaches {worst.max_abs:.3g}" if worst.finite else "is not finite"
        text = f"the output of {worst.name} {size} ({len(wild)} such among {len(layers)} layers)"
        found.append(finding("exploding-activations", text, change, "serious"))
    if dead:
        worst = max(dead, key=lambda layer: layer.dead_fraction)
        text = (
            f"{100 * worst.dead_fraction:.0f} % of the channels of {worst.name} pass nothing for any image "
            f"of the batch ({len(dead)} such among {len(layers)} layers)"
        )
        found.append(finding("dead-activations", text, change, "moderate"))
    return found


def from_classes(scores: Sequence[ClassScore]) -> list[Finding]:
    """The class that is recognised least, where it is far behind the others."""
    shown = [(score.recall, score) for score in scores if score.recall is not None]
    if len(shown) < 2:
        return []
    mean = float(np.mean([recall for recall, _ in shown]))
    recall, weak = min(shown, key=lambda pair: pair[0])
    margin = max(WEAK_RECALL, WEAK_T * float(np.sqrt(mean * (1 - mean) / weak.n)))
    if recall > mean - margin or 1 - recall < WEAK_ERROR * (1 - mean):
        return []
    text = (
        f"{100 * recall:.1f} % of {weak.n} images of {weak.name} are recognised, {100 * mean:.1f} % in the "
        f"mean of all classes; {100 * weak.mistaken_share:.1f} % are taken for {weak.mistaken_for}"
    )
    return [finding("class-fails", text, {}, "moderate")]
