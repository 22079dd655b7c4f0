"""The report's networks as its authors' code builds them: Keras' automatic names, layers in natural order.

Written apart from `keras_reference`, whose layers carry our names. `first` builds a block's shortcut before
its branch, as keras.applications does, `swapped` hands it to the addition first.
"""

import keras
from keras import layers


def _conv(x, width, side, stride=1, bias=False):
    return layers.Conv2D(width, side, strides=stride, padding="same", use_bias=bias)(x)


def _bn(x):
    return layers.BatchNormalization(epsilon=1.001e-5)(x)


def _relu(x):
    return layers.Activation("relu")(x)


def _add(branch, shortcut, swapped):
    return layers.Add()([shortcut, branch] if swapped else [branch, shortcut])


def toynet(
    widths,
    blocks,
    *,
    classes=10,
    shape=(32, 32, 3),
    dropout=0.0,
    softmax=True,
    scaled=False,
    first=False,
    swapped=False,
):
    """Pre-activation: bn, relu, conv, bn, relu, conv, shortcut conv, add."""
    image = keras.Input(shape)
    x = _conv(layers.Rescaling(1 / 255, name="scale")(image) if scaled else image, widths[0], 3)
    for stack, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        for block in range(count):
            stride = 2 if stack and not block else 1
            active = _relu(_bn(x))
            shortcut = _conv(active, width, 1, stride) if stride == 2 and first else x
            y = _conv(active, width, 3, stride)
            y = _conv(_relu(_bn(y)), width, 3)
            if stride == 2 and not first:
                shortcut = _conv(active, width, 1, stride)
            x = _add(y, shortcut, swapped)
    x = layers.GlobalAveragePooling2D()(_relu(_bn(x)))
    if dropout:
        x = layers.Dropout(dropout)(x)
    return keras.Model(image, layers.Dense(classes, activation="softmax" if softmax else None)(x))


def pure_resnet(widths, blocks, *, bottleneck, classes=10, shape=(32, 32, 3), first=False, swapped=False):
    """Post-activation, with batch normalisation behind every convolution."""
    image = keras.Input(shape)
    x = _bn(_conv(image, widths[0], 3, bias=True))
    for stack, (width, count) in enumerate(zip(widths, blocks, strict=True)):
        for block in range(count):
            stride = 2 if not block and (stack or bottleneck) else 1
            out = 4 * width if bottleneck else width
            changes = stride == 2 or x.shape[-1] != out
            shortcut = _bn(_conv(x, out, 1, stride)) if changes and first else x
            plan = [(width, 1), (width, 3), (out, 1)] if bottleneck else [(width, 3), (out, 3)]
            y = x
            for number, (channels, side) in enumerate(plan):
                y = _bn(_conv(y, channels, side, 1 if number else stride))
                y = y if number == len(plan) - 1 else _relu(y)
            if changes and not first:
                shortcut = _bn(_conv(x, out, 1, stride))
            x = _relu(_add(y, shortcut, swapped))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(classes)(x))
