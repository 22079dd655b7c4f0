"""How a run comes by its set-up: asked for, benched before, or timed now, and stored."""

import json
import os
from pathlib import Path

import pytest
import torch
from notes import Notes
from tiny_recipe import CARD, TINY, recipe

import toynet
from toynet.core.reporter import Silent
from toynet.runs import setups
from toynet.runs.folder import RunFolder
from toynet.runs.recipe import Recipe
from toynet.training.choice import Timing
from toynet.training.remembered import Entry, recall, remember
from toynet.training.setup import Setup, on_threads


def setup(precision="bf16", kernels="direct", memory_format="channels_last", threads=1) -> Setup:
    return Setup(precision=precision, kernels=kernels, memory_format=memory_format, threads=threads)


def choose(wanted: Recipe) -> setups.Choice:
    return setups.choose(wanted, CARD, Silent())


def keep(wanted: Recipe, *timings: tuple[Setup, float], best: Setup | None = None) -> None:
    entry = Entry(best=best, timings=tuple(Timing(setup=s, seconds=seconds) for s, seconds in timings))
    assert remember(setups.memory_file(), setups.memory_key(wanted, CARD), entry)


@pytest.fixture(autouse=True)
def bf16_may_be_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """On any machine the choices of one whose processor has it."""
    monkeypatch.setattr(setups.precision, "promising", lambda device: ("fp32", "bf16"))


@pytest.fixture
def free_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a shell that names no number of threads."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def no_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setups, "time_setups", None)


def test_what_is_left_open_is_timed_once_and_kept(monkeypatch: pytest.MonkeyPatch):
    first = choose(recipe())
    assert first.why.endswith("timed just now")
    entry = recall(setups.memory_file(), setups.memory_key(recipe(), CARD))
    assert [timing.setup for timing in entry.timings] == [
        setup("fp32"),
        setup("bf16"),
        setup("bf16", "compiled"),
    ]
    assert all(timing.seconds > 0 for timing in entry.timings)
    monkeypatch.setattr(setups, "time_setups", None)
    assert choose(recipe()).setup == first.setup
    assert choose(recipe()).why.endswith("timed before on this machine")


@pytest.mark.parametrize(
    ("changes", "images", "in_unit"),
    [
        ({"model.widths": [4, 8, 8, 8]}, 64, 64),
        ({"model.name": "toynet14", "model.widths": [64, 128, 256, 512]}, 20, 32),
        ({"model.name": "toynet14", "model.widths": [512, 512, 512, 512]}, 16, 32),
        ({"model.name": "toynet14", "model.widths": [64, 128, 256, 512], "train.micro_batch": 8}, 8, 8),
    ],
)
@pytest.mark.parametrize("promised", [False, True])
def test_much_work_is_timed_on_fewer_images(
    monkeypatch: pytest.MonkeyPatch, changes: dict, images: int, in_unit: int, promised: bool
):
    """A matrix unit takes 32 at once."""
    images, timed = in_unit if promised else images, []
    monkeypatch.setattr(setups.matrix, "is_promised", lambda: promised)

    class Trial:
        def __init__(self, recipe, card, images) -> None:
            self.images = images

        def seconds(self, setup) -> float:
            timed.append(self.images)
            return 0.001 * self.images

    monkeypatch.setattr(setups, "Trial", Trial)
    wanted = Recipe.load("quick", {"data.name": "glyphs:300", "train.batch_size": 64, **changes})
    setups.choose(wanted, CARD, Silent())
    assert set(timed) == {images}
    entry = recall(setups.memory_file(), setups.memory_key(wanted, CARD))
    whole = wanted.train.micro_batch or 64
    assert [timing.seconds for timing in entry.timings] == pytest.approx([0.001 * whole] * 3)


@pytest.mark.usefixtures("no_timing")
def test_known_times_decide_within_what_is_asked_for():
    keep(recipe(), (setup("fp32"), 3.0), (setup("bf16"), 2.0), (setup("bf16", "compiled"), 1.0))
    assert choose(recipe()).setup == setup("bf16", "compiled")
    assert choose(recipe(**{"train.kernels": "direct"})).setup == setup("bf16")
    plain = recipe(**{"train.precision": "fp32", "train.kernels": "direct"})
    assert choose(plain) == (setup("fp32"), "as asked for")
    assert choose(recipe(**{"train.kernels": "compiled"})) == (setup("bf16", "compiled"), "as asked for")
    elsewhere = recipe(**{"train.memory_format": "contiguous", "train.precision": "fp32"})
    assert choose(elsewhere).setup == setup("fp32", memory_format="contiguous")
    keep(recipe(), (setup("fp32"), 3.0), (setup("fp32", "compiled"), 2.0))
    assert choose(recipe(**{"train.precision": "fp32"})).setup == setup("fp32", "compiled")


@pytest.mark.usefixtures("no_timing")
def test_what_bench_chose_is_taken_where_it_fits():
    best = setup("bf16", memory_format="contiguous")
    known = (setup("fp32"), 3.0), (setup("bf16"), 2.0), (setup("bf16", "compiled"), 1.0), (best, 0.5)
    keep(recipe(), *known, best=best)
    assert choose(recipe()) == (best, "chosen by toynet bench on this machine")
    assert choose(recipe(**{"train.precision": "bf16"})).setup == best
    assert choose(recipe(**{"train.memory_format": "channels_last"})).setup == setup("bf16", "compiled")
    assert choose(recipe(**{"train.kernels": "compiled"})).setup == setup("bf16", "compiled")


@pytest.mark.usefixtures("no_timing", "free_threads")
def test_threads_are_those_asked_for_else_benchs(monkeypatch: pytest.MonkeyPatch):
    best = setup(threads=3)
    keep(recipe(), best=best)
    assert choose(recipe()).setup == best
    fp32 = {"train.precision": "fp32", "train.kernels": "direct"}
    assert choose(recipe(**fp32)).setup == setup("fp32", threads=3)
    assert choose(recipe(**fp32, **{"train.threads": 2})).setup == setup("fp32", threads=2)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert choose(recipe(**fp32)).setup == setup("fp32", threads=torch.get_num_threads())


@pytest.mark.usefixtures("no_timing", "free_threads")
def test_torchs_own_number_of_threads_is_the_last_resort():
    fp32 = recipe(**{"train.precision": "fp32", "train.kernels": "direct"})
    assert choose(fp32).setup.threads == torch.get_num_threads()


def test_the_key_tells_apart_what_takes_other_time(monkeypatch: pytest.MonkeyPatch):
    base = setups.memory_key(recipe(), CARD)
    for key, value in {
        "model.widths": [8, 8, 8, 8],
        "train.batch_size": 80,
        "train.micro_batch": 20,
        "model.conv_dropout": 0.1,
    }.items():
        assert setups.memory_key(recipe(**{key: value}), CARD) != base
    for key, value in {
        "optim.lr": 0.5,
        "model.dropout": 0.3,
        "model.order": "pre",
        "train.threads": 3,
    }.items():
        assert setups.memory_key(recipe(**{key: value}), CARD) == base
    monkeypatch.setattr(setups.build, "sources", lambda: "other kernels")
    assert setups.memory_key(recipe(), CARD) != base


def test_a_gpus_compiler_waits_for_bench_or_for_a_recipe_that_asks(monkeypatch: pytest.MonkeyPatch):
    """Compiling takes longer than many a run. Without a GPU: what would be timed, and what is chosen."""
    timed: list[Setup] = []

    def time_setups(wanted: list[Setup], seconds: object) -> list[Timing]:
        timed.extend(wanted)
        return [Timing(setup=one, seconds=1.0 / len(str(one))) for one in wanted]

    monkeypatch.setattr(setups.precision, "device", lambda: "cuda")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
    monkeypatch.setattr(setups, "find_spec", lambda name: True)
    monkeypatch.setattr(setups, "_short_trial", lambda recipe, card: None)
    monkeypatch.setattr(setups, "time_setups", time_setups)
    choose(recipe())
    assert {one.kernels for one in timed} == {"direct"}
    asked = choose(recipe(**{"train.kernels": "compiled"}))
    assert (asked.setup.kernels, asked.why) == ("compiled", "as asked for")
    half_asked = choose(recipe(**{"train.precision": "bf16"}))
    assert half_asked.why == "as asked for; toynet bench would try compiled kernels"
    compiled = setup("bf16", "compiled")
    key = setups.memory_key(recipe(), CARD)
    remember(
        setups.memory_file(), key, recall(setups.memory_file(), key).model_copy(update={"best": compiled})
    )
    assert choose(recipe()).setup == compiled


def test_a_busy_machine_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(setups, "busy_warning", lambda threads: f"busy with {threads}")
    notes = Notes()
    setups.choose(recipe(**{"train.precision": "fp32"}), CARD, notes)
    assert notes.notes == ["busy with 1"]


@pytest.mark.usefixtures("no_timing", "free_threads")
def test_a_run_uses_and_stores_the_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    keep(recipe(), best=setup("bf16", "compiled", threads=1))
    in_force: list[int] = []
    original = setups.subject.plan

    def plan(*arguments):
        in_force.append(torch.get_num_threads())
        return original(*arguments)

    monkeypatch.setattr(setups.subject, "plan", plan)
    notes = Notes()
    with on_threads(2):
        run = toynet.train("quick", name="chosen", overrides=TINY, root=tmp_path, reporter=notes)
        assert torch.get_num_threads() == 2
    told = "set-up: bf16, compiled kernels, channels_last, 1 thread (chosen by toynet bench on this machine)"
    assert told in notes.notes
    assert in_force == [1]
    stored = run.folder.recipe().train
    assert (stored.precision, stored.kernels) == ("bf16", "compiled")
    assert (stored.memory_format, stored.threads) == ("channels_last", 1)
    assert (run.result.precision, run.result.threads) == ("bf16", 1)
    assert json.loads((run.path / "environment.json").read_text())["threads"] == 1


def test_threads_given_to_train_are_stored(tmp_path: Path):
    plain = {"train.precision": "fp32", "train.threads": 2}
    run = toynet.train("quick", name="one", overrides={**TINY, **plain}, threads=1, root=tmp_path)
    assert run.folder.recipe().train.threads == run.result.threads == 1


def test_a_run_of_before_these_settings_goes_on_as_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    overrides = {**TINY, "train.precision": "bf16", "train.kernels": "direct"}
    run = toynet.train("quick", name="whole", overrides=overrides, root=tmp_path)
    file = run.path / "recipe.toml"
    kept = [
        line for line in file.read_text().splitlines() if not line.startswith(("kernels", "memory_f", "thre"))
    ]
    assert len(kept) == len(file.read_text().splitlines()) - 3
    file.write_text("\n".join(kept))
    os.rename(run.path / "result.json", tmp_path / "result.json")
    monkeypatch.setattr(setups, "choose", None)
    assert toynet.evaluate("whole", root=tmp_path).scores.accuracy == run.result.val_accuracy
    again = {"train.kernels": "direct", "train.memory_format": "channels_last", "train.threads": "none"}
    resumed = toynet.train("quick", name="whole", root=tmp_path, resume=True, overrides=again)
    assert resumed.result.identity == run.result.identity
    assert RunFolder(run.path).recipe().train.kernels == "direct"
