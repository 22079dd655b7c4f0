"""Trains small models, and keeps what came out: alone, or on every rank of torchrun.

python ranks_at_work.py FOLDER writes FOLDER/rankR.pt, a table of what each scenario left.
"""

import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from toynet.augment.spec import AugmentSpec
from toynet.augment.standardise import Standardiser
from toynet.core.errors import Diverged, Interrupted
from toynet.core.reporter import Silent
from toynet.training import loop
from toynet.training.distributed import Ranks, joined
from toynet.training.images import TrainingImages
from toynet.training.interrupts import StopFlag
from toynet.training.learner import Learner
from toynet.training.loop import Plan
from toynet.training.setup import Setup, prepare
from toynet.training.spec import LossSpec, OptimSpec, ScheduleSpec, TrainSpec
from toynet.training.synced_norm import SyncedBatchNorm, synced

SETUP = Setup(precision="fp32", kernels="direct", memory_format="channels_last", threads=1)
GENERATOR = np.random.default_rng(0)
PIXELS = torch.from_numpy(GENERATOR.integers(0, 256, (90, 16, 16, 3), dtype=np.uint8))
LABELS = torch.from_numpy(GENERATOR.integers(0, 3, 90))
PLAIN = Plan(
    train=TrainSpec(epochs=2, batch_size=20, ema=0.9),
    loss=LossSpec(),
    optim=OptimSpec(name="sgd", lr=0.05, clip_norm=1.0),
    schedule=ScheduleSpec(name="cosine", per="step"),
    augment=AugmentSpec(rotate_deg=10, flip="random"),
    classes=3,
    setup=SETUP,
)


def data(count: int) -> TrainingImages:
    full = np.full(3, 128, np.float32), np.full(3, 64, np.float32)
    return TrainingImages(PIXELS[:count], LABELS[:count], Standardiser.of(*full, width=16, device="cpu"))


def network(dropout: float) -> nn.Module:
    """Without kinks: where a ReLU switches, a difference by rounding becomes one that can be seen."""
    torch.manual_seed(5)
    layers = (
        nn.Conv2d(3, 6, 3),
        nn.BatchNorm2d(6),
        nn.GELU(),
        nn.Conv2d(6, 8, 3, 2),
        nn.BatchNorm2d(8),
        nn.GELU(),
    )
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(dropout), nn.Linear(288, 3))


def with_train(plan: Plan, **changes: object) -> Plan:
    return replace(plan, train=TrainSpec.model_validate({**plan.train.model_dump(), **changes}))


def train(
    ranks: Ranks,
    plan: Plan,
    count: int = 90,
    *,
    dropout: float = 0.0,
    stop_after: int = 0,
    begin: dict | None = None,
) -> dict:
    """What a run of `plan` on `count` images leaves; the last rank is asked to stop at step `stop_after`."""
    model = network(dropout)
    prepare(model, plan.setup)
    learner = Learner.fresh(model, plan.optim, plan.train)
    if begin is not None:
        learner.restore(begin["parts"], begin["state"])
    stop, seen, records, saved, error = StopFlag(), [], [], {}, ""
    original = loop.load

    def load(images: TrainingImages, indices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(indices.tolist())
        if len(seen) == stop_after and ranks.rank == ranks.size - 1:
            stop.signal_number = 15
        return original(images, indices)

    loop.load = load
    together = synced(model, ranks) if plan.train.batch_norm == "sync" else nullcontext()
    try:
        with together:
            loop.train(
                learner,
                plan,
                data(count),
                validate=None,
                record=lambda line: records.append(line.model_dump(exclude={"elapsed_s", "images_per_s"})),
                save=lambda moved: saved.update(parts=moved.parts(), state=moved.state),
                stop=stop,
                reporter=Silent(),
                ranks=ranks,
            )
    except (Interrupted, Diverged) as caught:
        error = f"{type(caught).__name__}: {caught}"
    finally:
        loop.load = original
    tensors = {name: value.clone() for name, value in learner.parts()["model"].items()}
    averages = learner.parts().get("average", {})
    return {
        "model": tensors,
        "parameters": [name for name, _ in model.named_parameters()],
        "average": {name: value.clone() for name, value in averages.items()},
        "records": records,
        "seen": seen,
        "error": error,
        "step": learner.state.step,
        "saved": {"parts": saved["parts"], "state": saved["state"]} if error.startswith("Int") else None,
    }


def norm(ranks: Ranks, dtype: torch.dtype, count: int) -> dict:
    """Batch norm of `count` maps: output, gradients and averages of this rank's part."""
    torch.manual_seed(1)
    maps = (torch.randn(count, 6, 3, 5) * 3 + 7).to(dtype).contiguous(memory_format=torch.channels_last)
    pull = torch.randn(count, 6, 3, 5).to(dtype)
    rows = ranks.share(slice(0, count), together=True).rows
    plain = nn.BatchNorm2d(6, momentum=0.3)
    nn.init.uniform_(plain.weight, 0.5, 2.0)
    layer = SyncedBatchNorm(plain, ranks) if ranks.size > 1 else plain
    mine = maps[rows].requires_grad_()
    out = layer(mine)
    out.backward(pull[rows])
    by_weight = torch.stack([plain.weight.grad, plain.bias.grad])
    if ranks.size > 1:
        ranks.add_up(by_weight)
    averages = torch.stack([plain.running_mean, plain.running_var])
    return {
        "rows": rows,
        "out": out.detach(),
        "by_maps": mine.grad,
        "by_weight": by_weight,
        "averages": averages,
        "batches": int(plain.num_batches_tracked),
    }


def work(ranks: Ranks) -> dict[str, dict]:
    stopped = train(ranks, PLAIN, stop_after=3, dropout=0.2)
    return {
        "plain": train(ranks, PLAIN),
        "one left over": train(ranks, PLAIN, 81),
        "mixup": train(ranks, replace(PLAIN, augment=AugmentSpec(crop_pad_px=2, mixup=0.4))),
        "easy left out": train(ranks, with_train(PLAIN, skip_easy={"share": 0.3, "after": 0.5}), 81),
        "by rank": train(ranks, with_train(PLAIN, batch_norm="rank"), 81),
        "in pieces": train(ranks, with_train(PLAIN, batch_norm="rank", micro_batch=10), 80),
        "in small pieces": train(ranks, with_train(PLAIN, micro_batch=7), 81),
        "dropout": train(ranks, PLAIN, dropout=0.2),
        "stopped": stopped,
        "gone on": train(ranks, PLAIN, dropout=0.2, begin=stopped["saved"]),
        "diverged": train(ranks, replace(PLAIN, optim=OptimSpec(name="sgd", lr=1e30))),
        "norm": norm(ranks, torch.float32, 7),
        "norm of one": norm(ranks, torch.float32, 1),
        "norm in bf16": norm(ranks, torch.bfloat16, 8),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined() as all_of_us:
        torch.save(work(all_of_us), Path(sys.argv[1]) / f"rank{all_of_us.rank}.pt")
