"""`bench` from end to end on a tiny model, and what `train` makes of it."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import toynet
from toynet.core.errors import ToyNetError, UsageError
from toynet.core.reporter import Silent
from toynet.runs import setups
from toynet.speed import bench as bench_room
from toynet.speed import images, search
from toynet.speed.steps import Stepper
from toynet.training.remembered import recall
from toynet.training.setup import on_threads

TINY = {
    "data.name": "glyphs:240",
    "model.name": "toynet12",
    "model.widths": [4, 8, 8, 8],
    "train.epochs": 1,
    "train.batch_size": 64,
}
PARTS = ["load", "augment", "forward", "backward", "optimiser", "rest"]


def bench(remember: bool | None = False, **changes: object) -> toynet.BenchResult:
    return toynet.bench("quick", overrides={**TINY, **changes}, seconds=0.01, remember=remember)


def entry():
    recipe = toynet.Recipe.load("quick", TINY)
    return recall(setups.memory_file(), setups.memory_key(recipe, images.card(recipe.data, None, Silent())))


@pytest.fixture(scope="module")
def found() -> toynet.BenchResult:
    return bench(**{"train.micro_batch": 32, "eval.tta": "flip"})


@pytest.fixture
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle machine of one core, in a shell that names no number of threads."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(bench_room, "busy_warning", lambda threads: None)
    monkeypatch.setattr(search, "usable_cores", lambda: 1)


def test_the_times_of_a_step_add_up(found: toynet.BenchResult):
    step = found.training
    assert [part.name for part in step.parts] == PARTS
    assert sum(part.share for part in step.parts) == pytest.approx(1)
    assert step.images_per_s.median == pytest.approx(64e3 / step.step_ms.median)
    assert step.images_per_s.lower <= step.images_per_s.median <= step.images_per_s.upper
    ms = {part.name: part.ms.median for part in step.parts}
    assert 0 < max(ms["forward"], ms["backward"]) < step.passes_ms.median < step.step_ms.median
    assert step.steps >= 5


def test_the_parts_of_a_step_are_all_of_it():
    plain = {"train.precision": "fp32", "train.kernels": "direct", "train.memory_format": "channels_last"}
    recipe = toynet.Recipe.load("quick", {**TINY, **plain})
    stepper = Stepper(recipe, images.card(recipe.data, None, Silent()))
    missed = []
    for _ in range(8):
        started = time.perf_counter()
        ms = stepper.step()
        missed.append((time.perf_counter() - started) * 1e3 - sum(ms.values()))
    assert 0 <= min(missed) < 1


def test_what_is_achieved_is_useful_arithmetic_against_the_limit(found: toynet.BenchResult):
    rows = {row.what: row for row in found.achieved}
    assert list(rows) == ["training step", "forward and backward", "convolutions alone", "evaluation"]
    gflop = 2 * found.macs / 1e9
    images_per_s = found.training.images_per_s.median
    assert rows["training step"].gflops == pytest.approx(3 * gflop * images_per_s)
    assert rows["forward and backward"].gflops > rows["training step"].gflops
    evaluated = found.inference
    assert (evaluated.tta, evaluated.views) == ("flip", 2)
    assert rows["evaluation"].gflops == pytest.approx(2 * gflop * evaluated.images_per_s.median)
    limit = found.limits.of(found.chosen.setup.precision)
    assert all(row.of_limit == pytest.approx(row.gflops / limit) for row in rows.values())


def test_the_record_says_what_was_measured_on_what(found: toynet.BenchResult):
    assert (found.recipe, found.model, found.widths) == ("quick", "toynet12", (4, 8, 8, 8))
    assert found.changes == {**TINY, "train.micro_batch": 32, "eval.tta": "flip"}
    assert found.image_shape == (32, 32, 3)
    assert (found.training.batch_size, found.training.micro_batch) == (64, 32)
    assert found.training.peak_resident_mib > 50
    assert found.environment["packages"]["torch"]
    assert [size.images for size in found.micro_batches] == [32, 64]
    assert {timing.setup.threads for timing in found.chosen.timings} == {1}
    assert found.chosen.setup in {timing.setup for timing in found.chosen.timings}
    assert toynet.BenchResult.model_validate_json(found.model_dump_json()) == found


def test_nothing_is_kept_unless_wished(found: toynet.BenchResult):
    bench()
    assert not found.chosen.remembered
    assert not setups.memory_file().exists()


@pytest.mark.usefixtures("one_core")
def test_train_takes_what_bench_chose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with on_threads(1):
        chosen = bench(remember=None).chosen
    assert chosen.remembered
    assert entry().best == chosen.setup
    assert {t.setup for t in entry().timings} == {t.setup for t in chosen.timings}
    monkeypatch.setattr(setups, "time_setups", None)
    monkeypatch.setattr(setups, "busy_warning", lambda threads: None)
    with on_threads(2):
        run = toynet.train("quick", name="after", overrides=TINY, root=tmp_path)
    stored = run.folder.recipe().train
    assert (stored.precision, stored.kernels) == (chosen.setup.precision, chosen.setup.kernels)
    assert (stored.memory_format, stored.threads) == (chosen.setup.memory_format, 1)


def test_a_choice_among_few_is_not_the_choice_for_all(monkeypatch: pytest.MonkeyPatch):
    assert bench(remember=True, **{"train.precision": "fp32"}).chosen.setup.precision == "fp32"
    assert entry().best is None
    assert {timing.setup.precision for timing in entry().timings} == {"fp32"}


def test_on_asked_threads_the_times_are_kept_and_no_others_tried(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(setups.precision, "promising", lambda device: ("fp32", "bf16"))
    found = toynet.bench("quick", overrides=TINY, threads=1, seconds=0.01, remember=True)
    assert {timing.setup.threads for timing in found.chosen.timings} == {1}
    assert len(entry().timings) == 5
    assert entry().best is None


@pytest.mark.usefixtures("one_core")
def test_other_numbers_of_threads_are_tried_for_the_best(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(search, "usable_cores", lambda: 2)
    times = {1: 0.5, 2: 0.4}

    class Trial:
        def __init__(self, *_: object) -> None: ...

        def seconds(self, setup) -> float:
            return times[setup.threads] * (1 if setup.precision == "bf16" else 3)

    monkeypatch.setattr(search, "Trial", Trial)
    recipe = toynet.Recipe.load("quick", TINY)
    card = images.card(recipe.data, None, Silent())
    with on_threads(1):
        assert search.search(recipe, card, keep=True).setup.threads == 2
    assert entry().best.threads == 2
    times[2] = 0.495
    with on_threads(1):
        assert search.search(recipe, card, keep=True).setup.threads == 1
    assert entry().best.threads == 1


def test_the_numbers_of_threads_are_powers_of_two_and_all_cores():
    assert search.thread_counts(1, 1) == []
    assert search.thread_counts(2, 2) == [1]
    assert search.thread_counts(6, 6) == [1, 2, 4]
    assert search.thread_counts(8, 4) == [1, 2, 8]


def test_a_busy_machine_is_told_and_not_remembered_unless_wished(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(bench_room, "busy_warning", lambda threads: "other work")
    busy = bench(remember=None)
    assert busy.advice[0] == "other work"
    assert not busy.chosen.remembered
    assert bench(remember=True).chosen.remembered


def test_torch_is_left_on_its_threads():
    with on_threads(2):
        toynet.bench("quick", overrides=TINY, threads=1, seconds=0.01, remember=False)
        assert torch.get_num_threads() == 2


@pytest.mark.parametrize(
    ("name", "shape", "classes"), [("cifar10", (32, 32, 3), 10), ("cifar100", (32, 32, 3), 100)]
)
def test_no_data_set_is_needed(name: str, shape: tuple, classes: int):
    spec = toynet.Recipe.load("default", {"data.name": name}).data
    card = images.card(spec, None, Silent())
    assert (card.image_shape, len(card.classes)) == (shape, classes)
    assert images.card(spec.model_copy(update={"size": 24}), None, Silent()).image_shape == (24, 24, 3)
    assert images.card(spec.model_copy(update={"channels": 1}), None, Silent()).image_shape == (32, 32, 1)


def test_the_users_own_images_give_their_shape(tmp_path: Path):
    labels, pixels = np.arange(30) % 3, np.zeros((30, 16, 20, 1), np.uint8)
    np.savez(tmp_path / "own.npz", x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    spec = toynet.Recipe.load("default", {"data.name": f"npz:{tmp_path / 'own.npz'}"}).data
    card = images.card(spec, None, Silent())
    assert (card.image_shape, len(card.classes)) == ((16, 20, 1), 3)
    data = images.training_images(card, 64, "cpu")
    assert data.images.shape[1:] == (16, 20, 1)
    assert len(data.images) % 64 == 0
    assert data.images.numel() > 2**25


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.name": "cifra10"}, "did you mean cifar10"),
        ({"data.size": 8, "augment.crop_pad_px": 8}, "crop_pad_px must be below the images' side"),
        ({"model.widths": [4, 8]}, "model.widths needs 4 numbers"),
        ({"data.name": "npz:/nowhere.npz"}, "/nowhere.npz"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_one_line(changes: dict, message: str):
    with pytest.raises(ToyNetError, match=message) as caught:
        bench(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seconds", [0, -1, 1e9, float("nan")])
def test_an_impossible_duration_is_refused(seconds: float):
    with pytest.raises(UsageError, match="seconds must be above 0"):
        toynet.bench("quick", seconds=seconds)


def test_the_json_has_the_promised_fields(found: toynet.BenchResult):
    told = json.loads(found.model_dump_json())
    assert told.keys() >= {"limits", "training", "inference", "achieved", "chosen", "advice", "environment"}
    assert told["limits"].keys() == {"rates", "fp32_gflops", "bf16_gflops"}
    assert told["chosen"]["setup"].keys() == {"precision", "kernels", "memory_format", "threads"}
    assert told["training"]["parts"][0].keys() == {"name", "ms", "share"}
    assert told["training"]["step_ms"].keys() == {"median", "lower", "upper"}
