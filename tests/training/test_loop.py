import copy
import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from toynet.augment.spec import AugmentSpec
from toynet.augment.standardise import Standardiser
from toynet.core.errors import Diverged, Interrupted
from toynet.core.records import EpochRecord
from toynet.core.reporter import Silent
from toynet.training import loop, losses
from toynet.training.images import TrainingImages
from toynet.training.interrupts import StopFlag
from toynet.training.learner import Learner
from toynet.training.loop import Plan
from toynet.training.setup import Setup, prepare
from toynet.training.spec import LossSpec, OptimSpec, PlateauSpec, ScheduleSpec, TrainSpec

COUNT = 90
SETUP = Setup(precision="fp32", kernels="direct", memory_format="channels_last", threads=1)
GENERATOR = np.random.default_rng(0)
PIXELS = torch.from_numpy(GENERATOR.integers(0, 256, (COUNT, 8, 8, 3), dtype=np.uint8))
LABELS = torch.from_numpy(GENERATOR.integers(0, 3, COUNT))
LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
DATA = TrainingImages(
    PIXELS,
    LABELS,
    Standardiser.of(np.full(3, 128, np.float32), np.full(3, 64, np.float32), width=8, device="cpu"),
)


def network(dropout: float = 0.3) -> nn.Module:
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout), nn.Linear(144, 3)
    ).to(memory_format=torch.channels_last)


def plan(**train: object) -> Plan:
    return Plan(
        train=TrainSpec(**{"epochs": 4, "batch_size": 20, "checkpoint_every": 1, "ema": 0.9, **train}),
        loss=LossSpec(),
        optim=OptimSpec(lr=0.01),
        schedule=ScheduleSpec(name="cosine", per="step"),
        augment=AugmentSpec(rotate_deg=10, flip="random", mixup=0.2),
        classes=3,
        setup=SETUP,
    )


class Bench:
    """Runs the loop and keeps what it hands out."""

    def __init__(self, what: Plan, validate=None) -> None:
        self.plan, self.validate = what, validate
        self.records: list[EpochRecord] = []
        self.saved: list[tuple] = []
        self.stop = StopFlag()

    def learner(self) -> Learner:
        return Learner.fresh(network(), self.plan.optim, self.plan.train)

    def run(self, learner: Learner, data: TrainingImages = DATA) -> Learner:
        loop.train(
            learner,
            self.plan,
            data,
            validate=self.validate,
            record=self.records.append,
            save=lambda moved: self.saved.append(copy.deepcopy((moved.parts(), moved.state))),
            stop=self.stop,
            reporter=Silent(),
        )
        return learner


def weights(learner: Learner) -> torch.Tensor:
    values = [
        *learner.model.state_dict().values(),
        *(learner.average.tensors.values() if learner.average else ()),
    ]
    return torch.cat([value.flatten().double() for value in values])


def parameters(learner: Learner) -> torch.Tensor:
    """Weights alone: a forward pass moves batch norm's statistics, only an update moves these."""
    return torch.cat([p.detach().flatten() for p in learner.model.parameters()])


def test_two_runs_are_bit_identical_and_a_seed_changes_them():
    first, second = (Bench(plan()).run(Bench(plan()).learner()) for _ in range(2))
    assert torch.equal(weights(first), weights(second))
    other = Bench(plan(seed=1))
    assert not torch.equal(weights(first), weights(other.run(other.learner())))


def test_rows_of_a_mapped_file_train_as_their_copy_does(tmp_path: Path):
    bench = Bench(plan())
    expected = bench.run(bench.learner())
    rows = torch.from_numpy(np.random.default_rng(1).permutation(200)[:COUNT])
    pool = np.random.default_rng(2).integers(0, 256, (200, 8, 8, 3), dtype=np.uint8)
    pool[rows] = PIXELS
    np.save(tmp_path / "pool.npy", pool)
    mapped = torch.from_numpy(np.asarray(np.load(tmp_path / "pool.npy", mmap_mode="c")))
    data = TrainingImages(mapped, LABELS, DATA.standardise, rows, mapped=True)
    again = Bench(plan())
    assert torch.equal(weights(again.run(again.learner(), data)), weights(expected))


def test_balanced_sampling_and_weights_reach_the_loop():
    uneven = torch.zeros(COUNT, dtype=torch.int64)
    uneven[:6], uneven[6:12] = 1, 2
    data = TrainingImages(PIXELS, uneven, DATA.standardise)
    seen: list[torch.Tensor] = []

    def run(loss: LossSpec, **train: object) -> torch.Tensor:
        bench = Bench(replace(plan(epochs=1, **train), loss=loss, augment=AugmentSpec()))
        return weights(bench.run(bench.learner(), data))

    plain, weighted = run(LossSpec()), run(LossSpec(class_weights="balanced"))
    assert not torch.equal(plain, weighted)
    original = loop.load
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            loop, "load", lambda data, rows: (seen.append(data.labels[rows]), original(data, rows))[1]
        )
        run(LossSpec(), sampling="balanced")
    assert torch.cat(seen).bincount().tolist() == [30, 30, 30]


LEAVES_OUT = {"skip_easy": {"share": 0.4, "after": 0.25}}
"""Epochs of 90, 54, 54 and 54 images: 5, 3, 3 and 3 steps."""


@pytest.mark.parametrize(
    ("train", "stop_after"),
    [*(({}, step) for step in range(1, 20)), *((LEAVES_OUT, step) for step in range(1, 14))],
)
def test_a_run_stopped_at_any_step_ends_as_the_undisturbed_one(
    train: dict[str, object], stop_after: int, monkeypatch: pytest.MonkeyPatch
):
    undisturbed = Bench(plan(**train))
    expected = undisturbed.run(undisturbed.learner())

    stopped = Bench(plan(**train))
    passes = 0
    original = loop.forward_backward

    def counting(*arguments):
        nonlocal passes
        passes += 1
        if passes == stop_after:
            stopped.stop.signal_number = 15
        return original(*arguments)

    monkeypatch.setattr(loop, "forward_backward", counting)
    with pytest.raises(Interrupted) as caught:
        stopped.run(stopped.learner())
    assert caught.value.exit_code == 143
    monkeypatch.undo()

    torch.manual_seed(12345)
    resumed = Bench(plan(**train))
    learner = resumed.learner()
    learner.restore(*stopped.saved[-1])
    assert learner.state.step == stop_after
    resumed.run(learner)
    assert torch.equal(weights(learner), weights(expected))
    lines = [*stopped.records, *resumed.records]
    timeless = [line.model_dump(exclude={"elapsed_s", "images_per_s"}) for line in lines]
    assert timeless == [
        line.model_dump(exclude={"elapsed_s", "images_per_s"}) for line in undisturbed.records
    ]


def test_a_stop_during_the_last_validation_is_heard():
    bench = Bench(plan(epochs=1))

    def ask(model: nn.Module) -> loop.Score:
        bench.stop.signal_number = 2
        return 1.0, 0.5

    bench.validate = ask
    with pytest.raises(Interrupted) as caught:
        bench.run(bench.learner())
    assert caught.value.exit_code == 130
    assert bench.saved[-1][1].epoch == 1


def test_evaluation_does_not_change_training():
    def noisy(model: nn.Module) -> loop.Score:
        torch.rand(100)
        np.random.rand(10)
        model.eval()
        model(torch.randn(4, 3, 8, 8))
        return 1.0, 0.5

    quiet, loud = Bench(plan()), Bench(plan(), validate=noisy)
    assert torch.equal(weights(quiet.run(quiet.learner())), weights(loud.run(loud.learner())))


def test_micro_batches_give_the_gradient_of_the_whole_batch():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    images, labels = torch.randn(25, 3, 8, 8), torch.randint(0, 3, (25,))
    loss_function = losses.build(LossSpec(label_smoothing=0.1))
    whole = loop.forward_backward(model, loss_function, images, labels, SETUP, None)
    expected = model[1].weight.grad.clone()
    pieces = loop.forward_backward(model, loss_function, images, labels, SETUP, 10)
    assert torch.allclose(model[1].weight.grad, expected, atol=1e-6)
    assert pieces[0] == pytest.approx(whole[0], rel=1e-5)
    assert pieces[1] == whole[1]


def test_the_memory_format_changes_rounding_only_and_reaches_images_and_kernels():
    images, labels = torch.randn(25, 3, 8, 8), torch.randint(0, 3, (25,))
    model, seen = network(0.0), []
    model[0].register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    gradients = []
    for memory_format, layout in LAYOUTS.items():
        setup = SETUP.model_copy(update={"memory_format": memory_format})
        prepare(model, setup)
        loop.forward_backward(model, losses.build(LossSpec()), images, labels, setup, None)
        assert all(tensor.is_contiguous(memory_format=layout) for tensor in (*seen.pop(), model[0].weight))
        gradients.append(model[0].weight.grad.clone())
    assert torch.allclose(*gradients, atol=1e-6)


def test_dropout_draws_depend_on_the_step_only():
    # A validation pass or a micro-batch before must not shift what is dropped at step 3.
    torch.rand(7)
    bench = Bench(plan(epochs=1, ema=0.0))
    torch.rand(9)
    first = bench.run(bench.learner())
    again = Bench(plan(epochs=1, ema=0.0))
    assert torch.equal(weights(first), weights(again.run(again.learner())))


@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("step", [0, 3, 7])
def test_a_loss_that_is_not_finite_stops_before_the_update(poison: float, step: int, monkeypatch):
    bench = Bench(plan())
    original = loop.forward_backward
    seen: list[torch.Tensor] = []
    learner = bench.learner()

    def poisoned(*arguments):
        seen.append(parameters(learner))
        loss, correct = original(*arguments)
        return (poison, correct) if len(seen) == step + 1 else (loss, correct)

    monkeypatch.setattr(loop, "forward_backward", poisoned)
    with pytest.raises(Diverged, match=f"step {step + 1} .*lower optim.lr") as caught:
        bench.run(learner)
    assert caught.value.step == step
    assert torch.equal(parameters(learner), seen[-1])


def test_a_gradient_that_is_not_finite_stops_before_the_update(monkeypatch):
    bench = Bench(plan())
    learner = bench.learner()
    start = parameters(learner)
    original = loop.forward_backward

    def poisoned(model, *arguments):
        found = original(model, *arguments)
        model[0].weight.grad[0, 0, 0, 0] = math.inf
        return found

    monkeypatch.setattr(loop, "forward_backward", poisoned)
    with pytest.raises(Diverged, match="gradient norm is inf"):
        bench.run(learner)
    assert torch.equal(parameters(learner), start)


def test_clipping_bounds_the_step_and_reports_the_norm_before():
    model = nn.Linear(4, 3)
    model(torch.randn(8, 4)).square().sum().mul(100).backward()
    before = math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters()))
    assert loop.gradient_norm(model, 1.0) == pytest.approx(before, rel=1e-5)
    assert math.sqrt(sum(float(p.grad.square().sum()) for p in model.parameters())) == pytest.approx(
        1, rel=1e-3
    )


def test_plateau_lowers_every_later_rate_of_any_schedule():
    scores = iter([(1.0, 0.5), *[(2.0, 0.5)] * 9])
    what = plan(epochs=10)
    flat = Plan(
        **{**vars(what), "schedule": ScheduleSpec(name="cosine", plateau=PlateauSpec(factor=0.5, patience=2))}
    )
    bench = Bench(flat, validate=lambda model: next(scores))
    bench.run(bench.learner())
    plain = [0.01 * 0.5 * (1 + math.cos(math.pi * epoch / 10)) for epoch in range(10)]
    factors = [1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125, 0.0625]
    assert [r.lr for r in bench.records] == pytest.approx(
        [a * b for a, b in zip(plain, factors, strict=True)]
    )


def test_early_stopping_ends_the_run_and_a_resumed_one_stays_ended():
    accuracies = iter([0.3, 0.5, 0.4, 0.4, 0.9])
    bench = Bench(plan(epochs=9, early_stop=2), validate=lambda model: (1.0, next(accuracies)))
    learner = bench.run(bench.learner())
    assert (learner.state.epoch, learner.state.best_epoch) == (4, 2)
    again = bench.learner()
    again.restore(*bench.saved[-1])
    assert bench.run(again).state.epoch == 4


def test_training_learns():
    learnable = TrainingImages(
        (LABELS[:, None, None, None] * 100).to(torch.uint8).expand(-1, 8, 8, 3).contiguous(),
        LABELS,
        DATA.standardise,
    )
    what = plan(epochs=25, ema=0.0)
    what = Plan(**{**vars(what), "augment": AugmentSpec()})
    records: list[EpochRecord] = []
    loop.train(
        Learner.fresh(network(0.0), what.optim, what.train),
        what,
        learnable,
        validate=None,
        record=records.append,
        save=lambda _: None,
        stop=StopFlag(),
        reporter=Silent(),
    )
    assert records[-1].train_accuracy > 0.95
    assert records[-1].step == 25 * 5


def test_epochs_leave_out_what_had_the_least_loss_when_last_seen(monkeypatch: pytest.MonkeyPatch):
    bench = Bench(replace(plan(**LEAVES_OUT, ema=0.0), augment=AugmentSpec(flip="alternate")))
    learner = bench.learner()
    latest = np.full(COUNT, np.inf)
    epochs: list[list[int]] = [[] for _ in range(4)]
    flips: list[dict[int, bool]] = [{} for _ in range(4)]
    indices: list[int] = []
    original_load, original_passes, original_draw = loop.load, loop.forward_backward, loop.pipeline.draw

    def load(data, rows):
        indices[:] = rows.tolist()
        epochs[learner.state.epoch] += indices
        return original_load(data, rows)

    def passes(model, loss, images, labels, *rest):
        twin = copy.deepcopy(model)
        torch_state = torch.get_rng_state()
        with torch.no_grad():
            latest[indices] = nn.functional.cross_entropy(twin(images), labels, reduction="none")
        torch.set_rng_state(torch_state)
        return original_passes(model, loss, images, labels, *rest)

    def draw(spec, order, **how):
        drawn = original_draw(spec, order, **how)
        flips[learner.state.epoch] = dict(zip(order.tolist(), drawn.flip.tolist(), strict=True))
        if learner.state.epoch:
            easiest = np.argsort(latest)[: COUNT - len(order)]
            assert set(easiest.tolist()) == set(range(COUNT)) - set(order.tolist())
        return drawn

    monkeypatch.setattr(loop, "load", load)
    monkeypatch.setattr(loop, "forward_backward", passes)
    monkeypatch.setattr(loop.pipeline, "draw", draw)
    bench.run(learner)
    assert [len(set(seen)) for seen in epochs] == [90, 54, 54, 54]
    assert [len(seen) for seen in epochs] == [90, 54, 54, 54]
    assert len(set(map(frozenset, epochs))) == 4  # not the same ones for good
    for image in range(COUNT):
        sides = [side[image] for side in flips if image in side]
        assert all(one != following for one, following in itertools.pairwise(sides))


def test_a_shorter_course_goes_through_the_whole_schedule():
    bench = Bench(replace(plan(**LEAVES_OUT), schedule=ScheduleSpec(name="cosine", per="step")))
    learner = bench.run(bench.learner())
    assert learner.state.step == 14
    last = 13 * 20 // 14  # of the twenty steps that the schedule is made for
    assert bench.records[-1].lr == pytest.approx(0.01 * 0.5 * (1 + math.cos(math.pi * last / 20)))
