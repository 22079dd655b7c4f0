"""The same network as a Keras functional model, trained by `fit` on arrays in memory.

It is the model that the tests compare ours with (`tests/models/keras_reference.py`, which the driver puts on
the path). The backend is chosen by `KERAS_BACKEND` before this module is imported.
"""

import time
from pathlib import Path
from typing import Any

import keras
import pool
from contests import Job, Trainer
from keras_reference import toynet

from toynet.models.architectures import architecture


class EpochEnds(keras.callbacks.Callback):
    """When the last epoch ended, its metrics known.

    On TensorFlow `fit` may then take another second to take its input pipeline down, which would count for
    much in a short window and does not in an epoch of CIFAR-10.
    """

    last = 0.0

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.last = time.perf_counter()


def build(job: Job, options: dict[str, Any], file: Path) -> Trainer:
    """options: `bf16` (the policy mixed_bfloat16), `jit_compile` (Keras decides by itself where absent)."""
    keras.utils.set_random_seed(0)
    if options.get("bf16"):
        keras.config.set_dtype_policy("mixed_bfloat16")
    model = toynet(job.widths, architecture(job.model).blocks)
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=options.get("jit_compile", "auto"),
    )
    images, labels = pool.standardised(file)

    def train(steps: int) -> tuple[int, float]:
        used, epochs = pool.portion(steps, job.batch_size)
        ends = EpochEnds()
        model.fit(
            images[:used],
            labels[:used],
            batch_size=job.batch_size,
            epochs=epochs,
            verbose=0,
            callbacks=[ends],
        )
        return used * epochs, ends.last

    return Trainer(train, model.count_params())
