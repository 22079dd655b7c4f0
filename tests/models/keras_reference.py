"""ToyNet and PureResNet written a second time, as Keras functional models, to check ours against.

Written from the report's description, with Keras' own layers and `padding="same"`; nothing of `toynet` is
used but the names of its layers, which let weights be copied both ways. `benchmarks/peers` trains them on
every backend of Keras, so torch is loaded only where weights are copied.
"""

import keras
import numpy as np
from keras import layers


def keras_name(path):
    """A torch module path as a Keras layer name, which may not hold a dot."""
    return path.replace(".", "__")


def _conv(x, name, channels, side, stride=1, bias=False):
    layer = layers.Conv2D(
        channels, side, strides=stride, padding="same", use_bias=bias, name=keras_name(name)
    )
    return layer(x)


def _bn(x, name):
    return layers.BatchNormalization(epsilon=1.001e-5, momentum=0.99, name=keras_name(name))(x)


def toynet(widths, blocks, *, classes=10, shape=(32, 32, 3), order="pre", shortcut="conv", head="gap"):
    """ToyNet in any order; `shortcut` is `conv` or `conv_bn`."""
    image = keras.Input(shape)
    x = _conv(image, "stem.conv", widths[0], 3)
    if order == "post":
        x = layers.ReLU()(_bn(x, "stem.norm"))
    elif order == "relu_bn":
        x = _bn(layers.ReLU()(x), "stem.norm")
    for stack, (width, count) in enumerate(zip(widths, blocks, strict=True), start=1):
        for block in range(1, count + 1):
            stride = 2 if stack > 1 and block == 1 else 1
            x = _toy_block(x, f"stack{stack}.block{block}", width, stride, order, shortcut)
    if order == "pre":
        x = layers.ReLU()(_bn(x, "final.norm"))
    x = layers.GlobalAveragePooling2D()(x) if head == "gap" else layers.Flatten()(x)
    return keras.Model(image, layers.Dense(classes, name=keras_name("head.dense"))(x))


def _toy_block(x, name, width, stride, order, shortcut):
    def project(source):
        if stride == 1:
            return x
        y = _conv(source, f"{name}.shortcut.conv", width, 1, stride)
        return _bn(y, f"{name}.shortcut.norm") if shortcut == "conv_bn" else y

    if order == "pre":
        active = layers.ReLU()(_bn(x, f"{name}.entry.norm1"))
        y = _conv(active, f"{name}.branch.conv1", width, 3, stride)
        y = layers.ReLU()(_bn(y, f"{name}.branch.norm2"))
        y = _conv(y, f"{name}.branch.conv2", width, 3)
        return layers.Add()([y, project(active)])
    if order == "relu_bn":
        y = _conv(x, f"{name}.branch.conv1", width, 3, stride)
        y = _bn(layers.ReLU()(y), f"{name}.branch.norm1")
        y = _conv(y, f"{name}.branch.conv2", width, 3)
        y = _bn(layers.ReLU()(y), f"{name}.branch.norm2")
        return layers.Add()([y, project(x)])
    y = _conv(x, f"{name}.branch.conv1", width, 3, stride)
    y = layers.ReLU()(_bn(y, f"{name}.branch.norm1"))
    y = _bn(_conv(y, f"{name}.branch.conv2", width, 3), f"{name}.branch.norm2")
    return layers.ReLU()(layers.Add()([y, project(x)]))


def pure_resnet(widths, blocks, *, bottleneck, classes=10, shape=(32, 32, 3)):
    """PureResNet: stem with bias and without ReLU, BN on projections, post-activation."""
    image = keras.Input(shape)
    x = _bn(_conv(image, "stem.conv", widths[0], 3, bias=True), "stem.norm")
    for stack, (width, count) in enumerate(zip(widths, blocks, strict=True), start=1):
        for block in range(1, count + 1):
            stride = 2 if block == 1 and (stack > 1 or bottleneck) else 1
            x = _resnet_block(x, f"stack{stack}.block{block}", width, stride, bottleneck)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(classes, name=keras_name("head.dense"))(x))


def _resnet_block(x, name, width, stride, bottleneck):
    kernels = (1, 3, 1) if bottleneck else (3, 3)
    out = width * 4 if bottleneck else width
    y = x
    for number, side in enumerate(kernels, start=1):
        last = number == len(kernels)
        y = _conv(
            y, f"{name}.branch.conv{number}", out if last else width, side, stride if number == 1 else 1
        )
        y = _bn(y, f"{name}.branch.norm{number}")
        if not last:
            y = layers.ReLU()(y)
    if stride != 1 or x.shape[-1] != out:
        x = _bn(_conv(x, f"{name}.shortcut.conv", out, 1, stride), f"{name}.shortcut.norm")
    return layers.ReLU()(layers.Add()([y, x]))


TORCH_NAMES = {
    "kernel": "weight",
    "gamma": "weight",
    "bias": "bias",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def array(variable):
    """A Keras variable's values; `keras.ops.convert_to_numpy` warns about NumPy 2 on the torch backend."""
    return variable.value.detach().numpy()


def torch_layout(values):
    """A Keras kernel (h, w, C, K) or matrix (C, K) as torch keeps it; vectors as they are."""
    return values.transpose(3, 2, 0, 1) if values.ndim == 4 else values.T


def variables(keras_model):
    """Pairs of (torch state name, Keras variable), moving statistics included."""
    for layer in keras_model.layers:
        for variable in layer.weights:
            if variable.name in TORCH_NAMES:
                path = layer.name.replace("__", ".")
                yield f"{path}.{TORCH_NAMES[variable.name]}", variable


def randomise(keras_model, seed):
    """Give biases, scales and moving statistics values that a fault in their use would show."""
    rng = np.random.default_rng(seed)
    for _, variable in variables(keras_model):
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif variable.name in ("beta", "bias", "moving_mean"):
            variable.assign(rng.normal(0, 0.1, variable.shape))


def copy_weights(keras_model, torch_model):
    """Copy every Keras variable into the torch model; both must have exactly the same ones."""
    import torch

    state = torch_model.state_dict()
    found = {
        name: torch.from_numpy(torch_layout(array(variable)).copy())
        for name, variable in variables(keras_model)
    }
    expected = {name for name in state if not name.endswith("num_batches_tracked")}
    assert found.keys() == expected
    with torch.no_grad():
        for name, value in found.items():
            assert state[name].shape == value.shape, name
            state[name].copy_(value)
