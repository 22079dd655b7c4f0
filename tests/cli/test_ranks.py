"""`torchrun -m toynet train`, with real ranks that are really signalled and killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
TRAIN = ["-m", "toynet", "train", "quick", "--data", "glyphs:600"]
SETTINGS = {
    "model.widths": "[4,8,8,8]",
    "model.dropout": 0,
    "train.epochs": 9,
    "train.batch_size": 37,  # odd, and an epoch's last batch is a smaller one
    "train.precision": "fp32",
    "train.kernels": "direct",
    "train.memory_format": "channels_last",
    "train.checkpoint_every": 1,
    "optim.name": "sgd",
    "optim.lr": 1e-4,  # so low that roundings stay roundings; an epoch's loss still tells what was seen
}
SET = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
BY_CLOCK = {"elapsed_s", "images_per_s"}


def begin(root: Path, ranks: int | None, *more: str) -> subprocess.Popen[str]:
    """Start training by `ranks` ranks of torchrun, or by a plain process."""
    start = [sys.executable] if ranks is None else [*TORCHRUN, "--nproc-per-node", str(ranks)]
    return subprocess.Popen(
        [*start, *TRAIN, *SET, "--name", "run", *more],
        env={**os.environ, "TOYNET_RUNS": str(root), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and all that was said."""
    out, err = process.communicate(timeout=300)
    return process.returncode, out + err


def ranks_of(launcher: subprocess.Popen[str]) -> list[int]:
    """Process ids of its ranks, in order."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    environments = {int(pid): Path(f"/proc/{pid}/environ").read_bytes() for pid in children}
    return [
        pid for rank in range(9) for pid, text in environments.items() if f"\0RANK={rank}\0".encode() in text
    ]


def wait_for_epoch(root: Path, epoch: int) -> None:
    """Until that many epochs are on the disk."""
    path, until = root / "run" / "metrics.jsonl", time.monotonic() + 240
    while not path.exists() or path.read_text().count("\n") < epoch:
        assert time.monotonic() < until
        time.sleep(0.01)


def history(root: Path) -> list[dict]:
    lines = (root / "run" / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in BY_CLOCK} for line in lines]


def logits(root: Path) -> np.ndarray:
    with np.load(root / "run" / "predictions.npz") as arrays:
        return arrays["test_logits"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("undisturbed")
    code, said = finish(begin(root, None))
    assert code == 0, said
    return root


def test_one_rank_is_a_plain_run_bit_for_bit(undisturbed: Path, tmp_path: Path):
    code, said = finish(begin(tmp_path, 1))
    assert code == 0, said
    assert history(tmp_path) == history(undisturbed)
    assert np.array_equal(logits(tmp_path), logits(undisturbed))


def test_a_run_goes_on_by_other_numbers_of_ranks(undisturbed: Path, tmp_path: Path):
    """One process, two ranks of which one is told to stop, two of which one is killed, one process."""
    plain = begin(tmp_path, None)
    wait_for_epoch(tmp_path, 1)
    plain.send_signal(signal.SIGINT)
    code, said = finish(plain)
    assert code == 130, said

    two = begin(tmp_path, 2, "--resume")
    wait_for_epoch(tmp_path, 3)
    os.kill(ranks_of(two)[1], signal.SIGTERM)
    started = time.monotonic()
    code, said = finish(two)
    assert time.monotonic() - started < 20
    assert code == 1  # torchrun's own, always
    assert said.count("everything is saved, go on with --resume") == 2  # ours, and in torchrun's report
    assert said.count("error: stopped after") == 1
    assert said.count("exitcode  : 143") == 2

    killed = begin(tmp_path, 2, "--resume")
    wait_for_epoch(tmp_path, 5)
    os.kill(ranks_of(killed)[1], signal.SIGKILL)
    started = time.monotonic()
    code, said = finish(killed)
    assert time.monotonic() - started < 20
    assert code == 1
    assert said.count("error: another rank has ended or does not answer") == 1
    assert not (tmp_path / "run" / "result.json").exists()

    code, said = finish(begin(tmp_path, None, "--resume"))
    assert code == 0, said
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["ranks"] == 1
    np.testing.assert_allclose(logits(tmp_path), logits(undisturbed), atol=0.05)
    for ours, theirs in zip(history(tmp_path), history(undisturbed), strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-3)
        assert ours["step"] == theirs["step"]


def test_a_wrong_request_is_answered_once(tmp_path: Path):
    code, said = finish(begin(tmp_path, 2, "--sede", "1"))
    assert code == 1
    assert said.count("error: No such option: --sede") == 1
    assert not list(tmp_path.iterdir())
