"""One tiny finished run, and the same with other networks in it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import toynet
from toynet.core.reporter import Silent
from toynet.exporting.origin import Origin, open_origin
from toynet.models.catalog import build
from toynet.models.spec import ModelSpec

TINY = {
    "data.name": "glyphs:400",
    "model.name": "toynet12",
    "model.widths": [4, 8, 8, 8],
    "model.dropout": 0.2,
    "train.epochs": 1,
    "train.batch_size": 40,
    "train.ema": 0.9,
    "train.precision": "fp32",
    "train.kernels": "direct",
    "optim.lr": 0.01,
}

VARIANTS = {
    "pre": ModelSpec(name="toynet14", widths=(4, 8, 8, 12)),
    "pre-conv_bn-dropout": ModelSpec(
        name="toynet12", widths=(4, 8, 8, 12), shortcut="conv_bn", conv_dropout=0.1, dropout=0.5
    ),
    "post-pool": ModelSpec(name="toynet12", widths=(4, 8, 8, 12), order="post", shortcut="pool"),
    "relu_bn-flatten": ModelSpec(name="toynet12", widths=(4, 8, 8, 12), order="relu_bn", head="flatten"),
    "pure_resnet50": ModelSpec(name="pure_resnet50", widths=(4, 4, 8, 8)),
    "speednet": ModelSpec(name="speednet", widths=(8, 12, 12), dropout=0.1),
}


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> toynet.Run:
    return toynet.train("quick", name="tiny", overrides=TINY, root=tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def origin(run: toynet.Run) -> Origin:
    return open_origin(run.folder, which="last", temperature=1.7, data_root=None, reporter=Silent())


@pytest.fixture
def variant(origin: Origin):
    """A function from a variant's name to an origin with that network, its statistics worth comparing."""

    def make(name: str, side: int = 32) -> Origin:
        spec = VARIANTS[name]
        shape = (side, side, 3)
        model = restless(build(spec, classes=10, image_shape=shape, seed=2))
        pictures = torch.randint(0, 256, (20, *shape), generator=torch.Generator().manual_seed(1)).byte()
        probe = replace(origin.probe, images=pictures.numpy(), labels=None) if side != 32 else origin.probe
        return replace(
            origin,
            model=model.eval(),
            recipe=origin.recipe.model_copy(update={"model": spec}),
            card=origin.card.model_copy(update={"image_shape": shape}),
            probe=probe,
        )

    return make


@torch.no_grad()
def restless(model: nn.Module) -> nn.Module:
    """Scales, shifts and moving statistics that a fault in their use would show."""
    draw = torch.Generator().manual_seed(6)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            for value, low, high in (
                (part.weight, 0.5, 1.5),
                (part.bias, -0.3, 0.3),
                (part.running_mean, -0.3, 0.3),
                (part.running_var, 0.5, 1.5),
            ):
                value.uniform_(low, high, generator=draw)
        elif isinstance(part, nn.Linear):
            part.weight.normal_(0, 0.3, generator=draw)
    return model


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path
