import pytest
import torch

from toynet.models.catalog import build
from toynet.models.chain import use_compiled
from toynet.models.cost import LayerCost, cost
from toynet.models.spec import ModelSpec

IMAGE = (32, 32, 3)


def measured(**fields):
    model = build(ModelSpec(**fields), classes=10, image_shape=IMAGE, seed=0)
    return model, cost(model, IMAGE)


def test_layers_counted_by_hand():
    _, total = measured(name="toynet14")
    layers = {layer.path: layer for layer in total.layers}
    assert layers["stem.conv"] == LayerCost(
        "stem.conv", "conv 3x3", (64, 32, 32), 3 * 64 * 9, 3 * 64 * 9, 32 * 32 * 64 * 27
    )
    assert layers["stack2.block1.branch.conv1"] == LayerCost(
        "stack2.block1.branch.conv1",
        "conv 3x3 /2",
        (128, 16, 16),
        64 * 128 * 9,
        64 * 128 * 9,
        16 * 16 * 128 * 64 * 9,
    )
    assert layers["stack4.block1.shortcut.conv"].macs == 4 * 4 * 512 * 256
    assert layers["final.norm"] == LayerCost("final.norm", "batch norm", (512, 4, 4), 2048, 1024, 0)
    assert layers["head.pool"] == LayerCost("head.pool", "global average pool", (512,), 0, 0, 0)
    assert layers["head.dense"] == LayerCost("head.dense", "dense", (10,), 5130, 5130, 5120)


def test_toynet14_needs_the_published_arithmetic():
    _, total = measured(name="toynet14")
    assert total.macs == pytest.approx(0.405e9, rel=0.005)
    assert (total.parameters, total.trainable) == (6_383_050, 6_377_546)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "toynet18", "head": "flatten", "shortcut": "pool", "dropout": 0.5, "conv_dropout": 0.1},
        {"name": "pure_resnet50", "widths": (8, 16, 32, 64)},
    ],
)
def test_layers_add_up_to_the_model(fields):
    _, total = measured(**fields)
    assert sum(layer.parameters for layer in total.layers) == total.parameters
    assert sum(layer.trainable for layer in total.layers) == total.trainable
    assert all(layer.kind == layer.kind.lower() for layer in total.layers)


def test_the_model_is_left_as_it_was():
    model, _ = measured(name="toynet12", widths=(16, 16, 16, 32))
    use_compiled(model, True)
    model.train()
    model.stack1.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    total = cost(model, IMAGE)
    assert sum(layer.parameters for layer in total.layers) == total.parameters
    assert model.training
    assert model.stack1.block1.branch.compiled
    assert not model.stack1.block1.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(weight.device.type == "cpu" and weight.requires_grad for weight in model.parameters())
    assert not any(layer._forward_hooks for layer in model.modules())


@pytest.mark.parametrize("fields", [{"name": "toynet18", "shortcut": "pool"}, {"name": "speednet"}])
def test_large_images_cost_by_shapes_alone_what_they_cost_in_earnest(fields, monkeypatch):
    model, shown = measured(**fields)
    monkeypatch.setattr("toynet.models.cost.MOST_PIXELS", 31 * 31)
    assert cost(model, IMAGE) == shown


def test_frozen_weights_count_as_not_trainable():
    model, total = measured(name="toynet12", widths=(4, 8, 16, 32))
    model.stem.conv.weight.requires_grad_(False)
    frozen = cost(model.bfloat16(), IMAGE)
    assert frozen.parameters == total.parameters
    assert frozen.trainable == total.trainable - 4 * 3 * 9


def test_a_last_map_of_one_pixel_can_be_measured_in_training_mode():
    model = build(
        ModelSpec(name="pure_resnet18", widths=(4, 8, 16, 32)), classes=10, image_shape=(8, 8, 3), seed=0
    )
    assert cost(model.train(), (8, 8, 3)).layers[-2].output_shape == (32,)
