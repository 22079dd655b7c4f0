import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from toynet.core import disk
from toynet.core.errors import CheckpointError, DiskError
from toynet.training import checkpoints
from toynet.training.learner import Learner
from toynet.training.spec import OptimSpec, TrainSpec

OPTIMS = [
    OptimSpec(name="adam"),
    OptimSpec(name="sgd", lr=0.1),
    OptimSpec(name="muon"),
    OptimSpec(name="adamw"),
]


def learner(optim: OptimSpec = OPTIMS[0], width: int = 4) -> Learner:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Conv2d(width, 4, 3), nn.Flatten(), nn.Linear(64, 2)
    ).to(memory_format=torch.channels_last)
    return Learner.fresh(model, optim, TrainSpec(ema=0.9))


def advance(moving: Learner, steps: int) -> None:
    for _ in range(steps):
        torch.manual_seed(moving.state.step)
        moving.model.zero_grad()
        moving.model(torch.randn(8, 3, 8, 8)).square().mean().backward()
        for optimizer in moving.optimizers:
            optimizer.step()
        moving.state.step += 1
        moving.average.update(moving.model, moving.state.step)


def same(first: Learner, second: Learner) -> bool:
    pairs = ((first.parts()[part], second.parts()[part]) for part in first.parts())
    return all(a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a) for a, b in pairs)


def saved(folder: Path, epochs: int = 1, optim: OptimSpec = OPTIMS[0]) -> Learner:
    moving = learner(optim)
    for epoch in range(1, epochs + 1):
        advance(moving, 2)
        moving.state.epoch = epoch
        checkpoints.save(folder, moving)
    return moving


@pytest.mark.parametrize("optim", OPTIMS, ids=lambda spec: spec.name)
def test_a_restored_learner_continues_bit_for_bit(tmp_path: Path, optim: OptimSpec):
    moving = saved(tmp_path, optim=optim)
    restored = learner(optim)
    parts, state, damaged = checkpoints.load_latest(tmp_path)
    restored.restore(parts, state)
    assert damaged == []
    assert same(moving, restored)
    advance(moving, 3)
    advance(restored, 3)
    assert same(moving, restored)
    assert moving.state == restored.state


def test_the_last_two_and_the_best_are_kept(tmp_path: Path):
    moving = learner()
    for epoch in range(1, 7):
        moving.state.epoch = epoch
        if epoch == 2:
            moving.state.best_epoch = 2
        checkpoints.save(tmp_path, moving)
    assert checkpoints.names(tmp_path) == ["epoch-0002", "epoch-0005", "epoch-0006"]
    assert checkpoints.best(tmp_path).name == "epoch-0002"


def mutations(path: Path):
    """Each (name, action) damages one file; actions cover flips, cuts, zeros, emptiness and absence."""
    generator = np.random.default_rng(0)
    for file in sorted(path.iterdir()):
        data = file.read_bytes()
        for _ in range(4):
            where, bit = int(generator.integers(len(data))), 1 << int(generator.integers(8))
            flipped = bytearray(data)
            flipped[where] ^= bit
            yield file.name, bytes(flipped)
        yield file.name, data[: len(data) // 2]
        yield file.name, b"\0" * len(data)
        yield file.name, b""
        yield file.name, None


def test_every_damage_is_noticed_and_the_checkpoint_before_it_is_used(tmp_path: Path):
    saved(tmp_path / "good", epochs=2)
    tried = 0
    for name, content in mutations(tmp_path / "good" / "epoch-0002"):
        broken = tmp_path / "broken"
        shutil.rmtree(broken, ignore_errors=True)
        shutil.copytree(tmp_path / "good", broken)
        target = broken / "epoch-0002" / name
        target.unlink() if content is None else target.write_bytes(content)
        _, state, damaged = checkpoints.load_latest(broken)
        assert state.epoch == 1, (name, content and len(content))
        assert len(damaged) == 1
        assert "epoch-0002" in damaged[0]
        assert name in damaged[0] or name == "manifest.json"
        tried += 1
    assert tried > 35


def test_the_best_is_told_by_the_newest_legible_state(tmp_path: Path):
    moving = saved(tmp_path, epochs=2)
    moving.state.epoch, moving.state.best_epoch = 3, 1
    checkpoints.save(tmp_path, moving)
    assert checkpoints.best(tmp_path).name == "epoch-0001"
    (tmp_path / "epoch-0003" / "state.json").write_text("garbage")
    assert checkpoints.best(tmp_path) is None, "the state before knew of none"


def test_what_was_passed_over_is_set_aside_and_saved_anew(tmp_path: Path):
    moving = saved(tmp_path, epochs=2)
    (tmp_path / "epoch-0002" / "model.safetensors").write_bytes(b"garbage")
    _, state, damaged = checkpoints.load_latest(tmp_path)
    assert state.epoch == 1
    assert "model.safetensors is damaged" in damaged[0]
    checkpoints.set_aside_later(tmp_path, state)
    assert checkpoints.names(tmp_path) == ["epoch-0001"]
    assert (tmp_path / "damaged-epoch-0002" / "model.safetensors").read_bytes() == b"garbage"
    checkpoints.save(tmp_path, moving)
    assert checkpoints.load_latest(tmp_path)[1].epoch == 2


def test_a_damaged_checkpoint_of_the_same_name_is_replaced_and_a_whole_one_kept(tmp_path: Path):
    moving = saved(tmp_path)
    path = tmp_path / "epoch-0001" / "optimizer-0.safetensors"
    before = path.stat().st_ino
    checkpoints.save(tmp_path, moving)
    assert path.stat().st_ino == before
    path.write_bytes(path.read_bytes()[:-1])
    checkpoints.save(tmp_path, moving)
    assert checkpoints.load_latest(tmp_path)[2] == []


def test_names_are_in_order_beyond_ten_thousand_epochs(tmp_path: Path):
    for name in ("epoch-10000", "epoch-9999", "epoch-9999-batch-00002", "epoch-9999-batch-100000"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text("{}")
    ordered = ["epoch-9999", "epoch-9999-batch-00002", "epoch-9999-batch-100000", "epoch-10000"]
    assert checkpoints.names(tmp_path) == ordered


def test_missing_pieces_are_an_error_unless_allowed(tmp_path: Path):
    saved(tmp_path)
    (tmp_path / "epoch-0001" / "optimizer-0.safetensors").unlink()
    (tmp_path / "epoch-0001" / "average.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"average\.safetensors"):
        checkpoints.load_latest(tmp_path)
    parts, state, _ = checkpoints.load_latest(tmp_path, allow_inexact=True)
    with pytest.raises(CheckpointError, match="holds"):
        learner().restore(parts, state)
    one = learner()
    told = one.restore(parts, state, allow_inexact=True)
    assert len(told) == 2
    assert "the average starts from the model" in told[0]
    assert "optimizer-0 starts afresh" in told[1]
    assert torch.equal(one.average.tensors["0.weight"], one.model[0].weight)
    (tmp_path / "epoch-0001" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="no usable checkpoint"):
        checkpoints.load_latest(tmp_path, allow_inexact=True)


def test_what_was_seen_of_images_goes_through_a_checkpoint(tmp_path: Path):
    def easy() -> Learner:
        model = nn.Sequential(nn.Linear(2, 2))
        return Learner.fresh(model, OptimSpec(name="sgd", momentum=0.0), TrainSpec(skip_easy={"share": 0.5}))

    one, other = easy(), easy()
    one.seen.epoch(np.arange(6), 6, begun=False)
    one.seen.note(np.arange(3), torch.tensor([0.3, 0.1, 0.2]))
    one.seen.epoch(np.arange(6), 4, begun=False)
    one.state.epoch = 1
    checkpoints.save(tmp_path, one)
    parts, state, _ = checkpoints.load_latest(tmp_path)
    other.restore(parts, state)
    assert same(one, other)
    assert other.seen.tensors["left_out"].tolist() == [False, True, True, False, False, False]
    plain = Learner.fresh(other.model, OptimSpec(name="sgd", momentum=0.0), TrainSpec())
    with pytest.raises(CheckpointError, match="seen"):
        plain.restore(parts, state)
    del parts["seen"]
    assert easy().restore(parts, state, allow_inexact=True) == ["which images are easy is found out anew"]


def test_room_for_the_first_checkpoints_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fresh = learner()
    size = checkpoints.size_bytes(fresh)
    advance(fresh, 1)
    checkpoints.save(tmp_path, fresh)
    on_disk = sum(file.stat().st_size for file in tmp_path.rglob("*.*") if file.is_file())
    assert on_disk <= size

    class Usage:
        total, free = 100 * size, 2 * size

    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: Usage)
    with pytest.raises(DiskError, match=r"no room for 3 checkpoints in .* MB needed, .* MB free"):
        checkpoints.require_room(tmp_path, fresh)


def test_no_usable_checkpoint_is_an_error_that_names_a_file(tmp_path: Path):
    with pytest.raises(CheckpointError, match="no checkpoint in"):
        checkpoints.load_latest(tmp_path)
    saved(tmp_path)
    (tmp_path / "epoch-0001" / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        checkpoints.load_latest(tmp_path)


def test_a_failed_save_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    moving = saved(tmp_path)
    calls = 0

    def full_disk(path: Path, tensors: object) -> None:
        nonlocal calls
        calls += 1
        path.write_bytes(b"part")
        if calls == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "_write_tensors", full_disk)
    moving.state.epoch = 2
    with pytest.raises(DiskError, match=r"no space left on the disk \([\d.]+ MB needed, [\d.]+ MB free\)"):
        checkpoints.save(tmp_path, moving)
    assert [entry.name for entry in tmp_path.iterdir()] == ["epoch-0001"]


def test_another_models_checkpoint_is_refused(tmp_path: Path):
    saved(tmp_path)
    parts, state, _ = checkpoints.load_latest(tmp_path)
    with pytest.raises(CheckpointError, match=r"model: 0\.weight is \(4, 3, 3, 3\) in the checkpoint"):
        learner(width=8).restore(parts, state)
    with pytest.raises(CheckpointError, match="optimizer"):
        learner(OPTIMS[2]).restore(parts, state)
    del (
        parts["optimizer-0"]["0.exp_avg"],
        parts["optimizer-0"]["0.exp_avg_sq"],
        parts["optimizer-0"]["0.step"],
    )
    with pytest.raises(CheckpointError, match="optimiser state"):
        learner().restore(parts, state)


def test_state_files_are_readable_json(tmp_path: Path):
    saved(tmp_path)
    assert json.loads((tmp_path / "epoch-0001" / "state.json").read_text())["epoch"] == 1
