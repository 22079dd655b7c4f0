"""How processes become the ranks of one run: what `torchrun` tells each, and how they end together."""

import ctypes
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed import Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from toynet.core.environment import place_among_ranks
from toynet.core.errors import UsageError
from toynet.training.distributed import ALONE, FAILED, Ranks, peers_there

_PATIENCE = timedelta(minutes=5)
"""For what one rank may let the others wait during training; saving is the longest."""

_PR_SET_PDEATHSIG = 1


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
    with peers_there():
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
        first = _store().add(FAILED, 1) == 1
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
