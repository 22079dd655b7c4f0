"""Logits, gradients and moving statistics against Keras, whose layers the report used."""

import keras
import numpy as np
import pytest
import torch
from keras_reference import (
    array,
    copy_weights,
    keras_name,
    pure_resnet,
    randomise,
    torch_layout,
    toynet,
    variables,
)
from torch.nn.functional import cross_entropy

from toynet.models.catalog import build
from toynet.models.spec import ModelSpec

# Rounding stays below it; a wrong padding or a shortcut fed by the wrong maps is off by 1e-2 or more.
TOLERANCE = 1e-4
NARROW = (4, 8, 16, 32)

CASES = {
    "toynet14": (ModelSpec(name="toynet14", widths=NARROW), lambda: toynet(NARROW, [1, 2, 2, 1])),
    "toynet18": (ModelSpec(name="toynet18", widths=NARROW), lambda: toynet(NARROW, [2, 2, 2, 2])),
    "toynet12-post-conv_bn": (
        ModelSpec(name="toynet12", widths=NARROW, order="post", shortcut="conv_bn"),
        lambda: toynet(NARROW, [1, 1, 2, 1], order="post", shortcut="conv_bn"),
    ),
    "toynet18-post": (
        ModelSpec(name="toynet18", widths=NARROW, order="post"),
        lambda: toynet(NARROW, [2, 2, 2, 2], order="post"),
    ),
    "toynet12-relu_bn-flatten": (
        ModelSpec(name="toynet12", widths=NARROW, order="relu_bn", head="flatten"),
        lambda: toynet(NARROW, [1, 1, 2, 1], order="relu_bn", head="flatten"),
    ),
    "pure_resnet18": (
        ModelSpec(name="pure_resnet18", widths=NARROW),
        lambda: pure_resnet(NARROW, [2, 2, 2, 2], bottleneck=False),
    ),
    "pure_resnet50": (
        ModelSpec(name="pure_resnet50", widths=NARROW),
        lambda: pure_resnet(NARROW, [3, 4, 6, 3], bottleneck=True),
    ),
}


@pytest.fixture
def float64():
    """Less rounding to explain differences by; Keras' batch normalisation still computes in float32."""
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


def batch(side=32, dtype=torch.float32):
    rng = np.random.default_rng(11)
    images = torch.from_numpy(rng.normal(size=(8, 3, side, side))).to(dtype)
    return images.contiguous(memory_format=torch.channels_last), torch.arange(8)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("float64")
def test_logits_and_gradients_equal_keras(case, training):
    spec, make = CASES[case]
    keras.utils.set_random_seed(7)
    reference = make()
    randomise(reference, seed=5)
    model = build(spec, classes=10, image_shape=(32, 32, 3), seed=3).double()
    copy_weights(reference, model)
    images, labels = batch(dtype=torch.float64)
    model.train(training)

    expected = reference(images.permute(0, 2, 3, 1), training=training)
    cross_entropy(expected, labels).backward()
    logits = model(images)
    cross_entropy(logits, labels).backward()

    torch.testing.assert_close(logits, expected, rtol=0, atol=TOLERANCE)
    gradients = {name: weight.grad for name, weight in model.named_parameters()}
    compared = 0
    for name, variable in variables(reference):
        if variable.trainable:
            wanted = torch_layout(variable.value.grad.numpy())
            # Batch statistics over few pixels make gradients of 30 in a bottleneck net: scale with them.
            scale = max(1.0, float(np.abs(wanted).max()))
            difference = np.abs(gradients[name].numpy() - wanted).max() / scale
            assert difference < TOLERANCE, f"{name}: {difference}"
            # In training, batch normalisation takes a shift of the stem out again.
            shift = name in ("stem.conv.bias", "stem.norm.bias")
            assert shift or np.abs(wanted).max() > 1e-4, f"{name}: nothing to compare"
            compared += 1
    assert compared == len(gradients)


def test_moving_statistics_follow_keras_but_for_the_unbiased_variance():
    keras.utils.set_random_seed(7)
    reference = toynet(NARROW, [1, 1, 2, 1])
    model = build(ModelSpec(name="toynet12", widths=NARROW), classes=10, image_shape=(32, 32, 3), seed=3)
    copy_weights(reference, model)
    images, _ = batch()
    reference(images.permute(0, 2, 3, 1), training=True)
    model(images)
    ours = model.stack2.block1.entry.norm1
    theirs = reference.get_layer(keras_name("stack2.block1.entry.norm1"))
    values = 8 * 32 * 32
    mean = array(theirs.moving_mean)
    biased = (array(theirs.moving_variance) - 0.99) / 0.01
    unbiased = (ours.running_var.numpy() - 0.99) / 0.01
    np.testing.assert_allclose(ours.running_mean.numpy(), mean, atol=1e-6)
    np.testing.assert_allclose(unbiased, biased * values / (values - 1), rtol=1e-4)


@pytest.mark.parametrize("side", [33, 35, 36, 42])
def test_odd_sides_are_padded_as_keras_pads_them(side):
    reference = toynet(NARROW, [1, 1, 2, 1], shape=(side, side + 3, 3))
    model = build(
        ModelSpec(name="toynet12", widths=NARROW), classes=10, image_shape=(side, side + 3, 3), seed=3
    )
    copy_weights(reference, model)
    model.eval()
    images = torch.from_numpy(np.random.default_rng(1).normal(size=(2, 3, side, side + 3)).astype("float32"))
    with torch.no_grad():
        expected = reference(images.permute(0, 2, 3, 1), training=False)
        torch.testing.assert_close(model(images), expected, rtol=0, atol=TOLERANCE)
