"""Two ranks against one process: a script that trains is run alone, and by the real torchrun."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from toynet.data.batches import batches, order
from toynet.training.distributed import ALONE
from toynet.training.shares import share

SCRIPT = str(Path(__file__).with_name("ranks_at_work.py"))
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
EXACT = {"rtol": 0, "atol": 0}
ROUNDING = {"rtol": 2e-4, "atol": 2e-5}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """Of one process, of rank 0 and of rank 1."""
    folder = tmp_path_factory.mktemp("ranks")
    found: list[dict] = []
    for starter in ([sys.executable], TORCHRUN):
        done = subprocess.run(
            [*starter, SCRIPT, str(folder)],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
        found += [torch.load(path, weights_only=False) for path in sorted(folder.glob("rank*.pt"))]
    return found


def assert_alike(one: dict, other: dict, parts: tuple[str, ...] = ("model", "average"), **tolerance: float):
    for part in parts:
        torch.testing.assert_close(one[part], other[part], **tolerance)


@given(st.integers(1, 300), st.integers(1, 9), st.integers(0, 50))
def test_shares_are_in_order_even_and_whole(whole: int, size: int, start: int):
    parts = [share(slice(start, start + whole), rank, size, together=True) for rank in range(size)]
    positions = [position for part in parts for position in range(part.rows.start, part.rows.stop)]
    assert positions == list(range(start, start + whole))
    counts = [part.count for part in parts]
    assert max(counts) - min(counts) <= 1
    assert {part.reach for part in parts} == {max(counts)}
    assert sum(part.weight for part in parts) == pytest.approx(1)


def test_one_process_has_the_whole_batch():
    part = ALONE.share(slice(20, 40), together=True)
    assert (part.rows, part.count, part.reach, part.weight) == (slice(20, 40), 20, 20, 1.0)
    assert ALONE.stream == ()


@pytest.mark.parametrize("scenario", ["plain", "one left over", "mixup", "easy left out"])
def test_two_ranks_train_as_one_process(outcomes: list[dict], scenario: str):
    alone, first, second = (outcome[scenario] for outcome in outcomes)
    assert_alike(first, second, **EXACT)
    assert_alike(first, alone, **ROUNDING)
    assert first["records"] == second["records"]
    for ours, theirs in zip(first["records"], alone["records"], strict=True):
        assert ours["train_accuracy"] == theirs["train_accuracy"]
        for key in ("train_loss", "grad_norm", "lr"):
            assert ours[key] == pytest.approx(theirs[key], rel=1e-4)


def test_every_step_has_the_same_samples(outcomes: list[dict]):
    alone, first, second = (outcome["one left over"]["seen"] for outcome in outcomes)
    assert [a + b for a, b in zip(first, second, strict=True)] == alone
    assert first[4] == []  # the last batch of 81 images has one, which is the second rank's
    wanted = [order(81, seed=0, epoch=e)[rows].tolist() for e in range(2) for rows in batches(81, 20)]
    assert alone == wanted


def test_batch_norm_by_rank_is_another_experiment_that_ranks_agree_on(outcomes: list[dict]):
    alone, first, second = (outcome["by rank"] for outcome in outcomes)
    for name, value in first["model"].items():
        if "num_batches" not in name:  # which differs: a batch of one image is the second rank's
            assert torch.equal(value, second["model"][name])
    with pytest.raises(AssertionError):
        assert_alike(first, alone, **ROUNDING)
    assert torch.isfinite(torch.cat([value.flatten() for value in first["model"].values()])).all()


def test_batch_norm_by_rank_is_one_process_with_micro_batches_of_a_share(outcomes: list[dict]):
    alone, first, _ = (outcome["in pieces"] for outcome in outcomes)
    for name in alone["parameters"]:
        torch.testing.assert_close(first["model"][name], alone["model"][name], **ROUNDING)


def test_ranks_with_uneven_pieces_do_not_wait_for_each_other_for_ever(outcomes: list[dict]):
    _, first, second = (outcome["in small pieces"] for outcome in outcomes)
    assert_alike(first, second, **EXACT)
    assert first["step"] == 10


def test_dropout_is_another_draw_on_each_rank(outcomes: list[dict]):
    alone, first, second = (outcome["dropout"] for outcome in outcomes)
    assert_alike(first, second, **EXACT)
    with pytest.raises(AssertionError):
        assert_alike(first, alone, **ROUNDING)


def test_a_signal_to_one_rank_stops_all_at_one_step_and_all_go_on(outcomes: list[dict]):
    for outcome in outcomes:
        assert outcome["stopped"]["error"].startswith("Interrupted: stopped after 0 epochs, step 3")
        assert_alike(outcome["gone on"], outcome["dropout"], **EXACT)
        assert outcome["gone on"]["records"] == outcome["dropout"]["records"]


def test_all_ranks_diverge_at_one_step(outcomes: list[dict]):
    errors = {outcome["diverged"]["error"] for outcome in outcomes}
    steps = {outcome["diverged"]["step"] for outcome in outcomes}
    assert len(errors) == len(steps) == 1
    assert "the update was not applied" in errors.pop()


@pytest.mark.parametrize(
    ("scenario", "tolerance"),
    [("norm", 1e-5), ("norm of one", 1e-5), ("norm in bf16", 3e-2)],
)
def test_synced_batch_norm_is_torchs_over_all_images(outcomes: list[dict], scenario: str, tolerance: float):
    alone, *ranks = (outcome[scenario] for outcome in outcomes)
    for key in ("out", "by_maps"):
        joined = torch.cat([rank[key] for rank in ranks])
        assert joined.dtype == alone[key].dtype
        torch.testing.assert_close(joined, alone[key], rtol=tolerance, atol=tolerance)
    for rank in ranks:
        torch.testing.assert_close(rank["by_weight"], alone["by_weight"], rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(rank["averages"], alone["averages"], rtol=1e-5, atol=1e-5)
        assert rank["batches"] == 1
