import keras
import pytest

from toynet.core.errors import CheckpointError
from toynet.training.spec import PlateauSpec
from toynet.training.state import Plateau, Sums, TrainState

LOSSES = [2.0, 1.5, 1.4, 1.41, 1.40001, 1.42, 1.43, 1.5, 1.39, 1.38, 1.4, 1.4, 1.4, 1.4, 1.4, 1.4, 1.4]


def test_plateau_lowers_the_rate_when_keras_does():
    callback = keras.callbacks.ReduceLROnPlateau(factor=0.15, patience=3, min_delta=1e-4)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(1.0), loss="mse")
    callback.set_model(model)
    callback.on_train_begin()
    plateau, spec = Plateau(), PlateauSpec(factor=0.15, patience=3)
    for epoch, loss in enumerate(LOSSES):
        callback.on_epoch_end(epoch, {"val_loss": loss})
        plateau.observe(spec, loss)
        assert plateau.factor == pytest.approx(float(model.optimizer.learning_rate), rel=1e-5)
    assert plateau.factor < 0.15**2 * 1.01  # it took effect twice


def test_state_survives_json_and_refuses_to_guess():
    state = TrainState(epoch=3, batch=7, step=100, sums=Sums(loss=0.1 + 0.2), plateau=Plateau(0.15, 1.0, 2))
    value = state.to_json()
    assert TrainState.from_json(value) == state
    for damaged in ({**value, "extra": 1}, {k: v for k, v in value.items() if k != "step"}):
        with pytest.raises(CheckpointError):
            TrainState.from_json(damaged)
