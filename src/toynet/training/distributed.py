"""One run over several processes: ranks that each take their share of every batch.

The data-parallel scheme of Li et al. 2020, "PyTorch Distributed" (arXiv:2006.15704): every rank holds the
whole model, gradients are summed before each update, and so the weights stay equal. Unlike
`DistributedDataParallel` this sums all gradients at once when the backward pass is over, weighted by images
and not by ranks, because shares may be uneven. `torchrun` tells each process its rank; what ranks say to
each other passes through gloo, and tensors on GPUs through NCCL, which has not been measured.
"""

import ctypes
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from toynet.core.environment import place_among_ranks
from toynet.core.errors import ToyNetError, UsageError
from toynet.training.shares import Share, share

Value = TypeVar("Value")

_PATIENCE = timedelta(minutes=5)
"""For what one rank may let the others wait during training; saving is the longest."""

_PREPARATION_S = 6 * 3600.0
"""For reading and converting images, and for downloading them."""

_ASK_EVERY_S = 0.05
_FAILED = "toynet/failed"

_PR_SET_PDEATHSIG = 1


class RankLost(ToyNetError):
    """Another rank has ended, or does not answer."""


@dataclass(frozen=True)
class Ranks:
    """This process's `rank` among `size`; for one process everything here does nothing."""

    rank: int = 0
    size: int = 1
    store: Store | None = None

    @property
    def stream(self) -> tuple[int, ...]:
        """What a random stream's name ends with, where each rank has one; nothing for the first."""
        return (self.rank,) if self.rank else ()

    def share(self, rows: slice, *, together: bool) -> Share:
        """This rank's part of the batch at `rows`; `together` as in `shares.share`."""
        return share(rows, self.rank, self.size, together=together)

    def combine(
        self, model: nn.Module, loss: float, correct: int, average: float | None
    ) -> tuple[float, int]:
        """Sum over the ranks the gradients that lie in `model`, and the two numbers.

        A weight that learns but has no gradient, because this rank had no image, counts as zeros. average:
        where each rank moved statistics of its own, this one's weight in their average; weights sum to 1.
        """
        if self.size == 1:
            return loss, correct
        moving = [parameter for parameter in model.parameters() if parameter.requires_grad]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in moving]
        buffers = [b for b in model.buffers() if b.is_floating_point()] if average is not None else []
        numbers = torch.tensor([loss, correct], device=gradients[0].device)
        pieces = [*gradients, *(buffer * (average or 0.0) for buffer in buffers), numbers]
        flat = torch.cat([piece.flatten() for piece in pieces])
        self.add_up(flat)
        sums = torch.split(flat, [piece.numel() for piece in pieces])
        for target, total in zip([*gradients, *buffers], sums[:-1], strict=True):
            target.copy_(total.view(target.shape))
        for parameter, gradient in zip(moving, gradients, strict=True):
            parameter.grad = gradient
        return sums[-1][0].item(), round(sums[-1][1].item())

    def add_up(self, values: Tensor) -> None:
        """Replace `values` by their sum over the ranks, in place; the same bits on every rank."""
        with _peers_there():
            dist.all_reduce(values)

    def whole_batch(self, part: Tensor, share: Share, rows: slice) -> Tensor:
        """A value for every image of the batch at `rows`, (B,), from those of each rank's `share` of it."""
        if self.size == 1:
            return part
        values = part.new_zeros(share.whole)
        values[share.rows.start - rows.start :][: share.count] = part
        self.add_up(values)
        return values

    def gather(self, values: Tensor) -> Tensor:
        """`values` (...) of every rank, all of one shape: (ranks, ...)."""
        parts = [torch.empty_like(values) for _ in range(self.size)]
        with _peers_there():
            dist.all_gather(parts, values)
        return torch.stack(parts)

    def map_rows(self, count: int, compute: Callable[[slice], Tensor]) -> Tensor:
        """`compute(rows)` (n, ...) over `count` rows, a share by each rank: (count, ...), on every rank."""
        if self.size == 1:
            return compute(slice(0, count))
        shares = [share(slice(0, count), rank, self.size, together=True) for rank in range(self.size)]
        mine = shares[self.rank]
        # All take as many as the largest share, so that none is empty and all are of one shape.
        found = self.gather(compute(slice(mine.rows.start, mine.rows.start + mine.reach)))
        pieces = [part[: one.count] for part, one in zip(found, shares, strict=True)]
        return torch.cat(pieces)

    def largest(self, number: int) -> int:
        """The largest of the ranks' numbers."""
        if self.size == 1:
            return number
        value = torch.tensor(number)
        with _peers_there():
            dist.all_reduce(value, dist.ReduceOp.MAX)
        return int(value)

    def wait(self) -> None:
        """Return when every rank has come here."""
        self.largest(0)

    def from_first(self, value: Value) -> Value:
        """The first rank's `value`, on every rank."""
        if self.size == 1:
            return value
        box = [value]
        with _peers_there():
            dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def publish(self, text: str) -> None:
        """Tell the others, who wait with `published`, what is to be done."""
        if self.store is not None:
            self.store.compare_set("toynet/task", "", text)

    def published(self) -> str:
        """What the first rank tells, however long that takes; nothing where it has nothing to do."""
        assert self.store is not None
        self._await(["toynet/task"])
        return self.store.get("toynet/task").decode()

    def ready(self) -> None:
        """Return when every rank has come here, however long that takes: images are read before this."""
        if self.store is None:
            return
        self.store.set(f"toynet/ready/{self.rank}", "yes")
        self._await([f"toynet/ready/{rank}" for rank in range(self.size)])

    def _await(self, keys: list[str]) -> None:
        """Return when the store has `keys`. It is asked now and then: its own waiting is deaf to signals."""
        assert self.store is not None
        until = time.monotonic() + _PREPARATION_S
        with _peers_there():
            while not self.store.check(keys):
                if self.store.check([_FAILED]) or time.monotonic() > until:
                    raise RuntimeError("it failed, or took too long, before training began")
                time.sleep(_ASK_EVERY_S)


ALONE = Ranks()


@contextmanager
def joined() -> Iterator[Ranks]:
    """The ranks that `torchrun` started, connected for the length of the block; one where it did not.

    The block that fails leaves the connections to the end of the process, so that no other rank notices
    before the error has been told.
    """
    rank, size = place_among_ranks()
    if size == 1:
        yield ALONE
        return
    _end_with_the_launcher()
    _talk_within_one_machine()
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        local, gpus = int(os.environ.get("LOCAL_RANK", 0)), torch.cuda.device_count()
        if local >= gpus:
            raise UsageError(
                f"there is no GPU for rank {rank}: this machine has {gpus}; start no more ranks on it"
            )
        torch.cuda.set_device(local)
    with _peers_there():
        store = _store()
        backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_PATIENCE)
    ranks = Ranks(rank, size, store)
    try:
        yield ranks
    except BaseException:
        # torchrun sends signals to the ranks that are left; this one is about to tell why, and to end.
        with suppress(ValueError):  # outside the main thread, where signals are not ours
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
        raise
    if rank == 0:
        ranks.publish("")
    dist.destroy_process_group()


def has_the_last_word(error: str, code: int) -> bool:
    """Whether this process, about to exit with `code`, is the one to tell the `error`: the first that asks.

    torchrun's own report then has it as well.
    """
    rank, size = place_among_ranks()
    if size == 1:
        return True
    if not dist.is_initialized() and "TORCHELASTIC_RUN_ID" not in os.environ:
        return rank == 0  # nobody keeps a store yet
    try:
        first = _store().add(_FAILED, 1) == 1
    except RuntimeError:
        return True
    if first and (report := os.environ.get("TORCHELASTIC_ERROR_FILE")):
        with suppress(OSError):
            extra = {"py_callstack": error, "timestamp": str(int(time.time()))}
            about = {"message": error, "errorCode": code, "extraInfo": extra}
            Path(report).write_text(json.dumps({"message": about}))
    return first


@cache
def _store() -> Store:
    """The key-value store of `torchrun`; of the first rank, where something else started the ranks."""
    store: Store = next(rendezvous("env://", timeout=_PATIENCE))[0]
    return store


@contextmanager
def _peers_there() -> Iterator[None]:
    """Turn a broken or silent connection into a `RankLost`."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0].rpartition("] ")[2]
        raise RankLost(
            f"another rank has ended or does not answer ({reason}); the run goes on from its last "
            "checkpoint with --resume"
        ) from error


def _end_with_the_launcher() -> None:
    """Take the death of `torchrun` for a SIGTERM: nobody else would ever stop the ranks it leaves behind.

    Not for a SIGINT, of which a second one interrupts: Linux may send one for each of torchrun's threads.
    """
    if sys.platform == "linux" and "TORCHELASTIC_RUN_ID" in os.environ:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _talk_within_one_machine() -> None:
    """Keep to the loopback interface where all ranks are here: a machine's name may lead elsewhere."""
    if os.environ.get("LOCAL_WORLD_SIZE") == os.environ.get("WORLD_SIZE"):
        loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), None)
        if loopback:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
