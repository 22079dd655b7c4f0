"""From what a recipe leaves at auto to one set-up: asked for, chosen by `bench` before, or timed now."""

import copy
import os
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from toynet.core import places
from toynet.core.environment import busy_warning, fingerprint, usable_cores
from toynet.core.errors import UsageError
from toynet.core.reporter import Reporter
from toynet.kernels import build, matrix
from toynet.models import catalog
from toynet.models.cost import FLOP_PER_MAC, PASSES, cost
from toynet.runs import subject, weights
from toynet.runs.folder import DataCard
from toynet.runs.recipe import Recipe
from toynet.training import losses, precision
from toynet.training.choice import explain, fastest, time_setups
from toynet.training.loop import forward_backward
from toynet.training.precision import Precision
from toynet.training.remembered import recall, remember
from toynet.training.setup import MemoryFormat, Setup, candidates, in_steps, on_threads, prepare

_ENOUGH_FLOP, _FEWEST_IMAGES = 5e10, 16
"""Some tenths of a second on two cores; less and it is calls, not arithmetic, that are timed."""

_UNTIL_REPLAYED = 3
"""Passes: one as it comes, one that is recorded, one that has been."""

_NO_WORK = {"dropout", "weights", "weights_sha256"}
_THREAD_VARIABLES = "OMP_NUM_THREADS", "MKL_NUM_THREADS"


class Choice(NamedTuple):
    """A set-up and a sentence on why."""

    setup: Setup
    why: str


class Trial:
    """The recipe's model and a batch of noise, to time a step's forward and backward pass.

    The batch has `images` images, by default as many as pass at once in training.
    """

    def __init__(self, recipe: Recipe, card: DataCard, images: int | None = None) -> None:
        device = precision.device()
        height, width, channels = card.image_shape
        count = images or recipe.train.micro_batch or recipe.train.batch_size
        noise = torch.Generator().manual_seed(0)
        self._model = subject.build_model(recipe, card).to(device)
        self._networks: dict[tuple[str, int | None], nn.Module] = {}
        self._images = torch.randn(count, channels, height, width, generator=noise).to(device)
        self._labels = torch.zeros(count, dtype=torch.int64, device=device)
        self._loss = losses.build(recipe.loss)

    def seconds(self, setup: Setup, micro_batch: int | None = None) -> float:
        """One pass forward and backward in `setup`, in pieces of `micro_batch` images."""
        network = self._networks.get((setup.name, micro_batch))
        with on_threads(setup.threads), precision.repeatable(self._images.device.type):
            if network is None:
                network = self._networks[setup.name, micro_batch] = self._network(setup, micro_batch)
            started = time.perf_counter()
            forward_backward(network, self._loss, self._images, self._labels, setup, micro_batch)
            return time.perf_counter() - started

    def _network(self, setup: Setup, micro_batch: int | None) -> nn.Module:
        """What steps in `setup` call; on a GPU compiled and recorded already, for that is no part of one."""
        model = copy.deepcopy(self._model)
        prepare(model, setup)
        network = in_steps(model, setup)
        if network is not model:
            for _ in range(_UNTIL_REPLAYED):
                forward_backward(network, self._loss, self._images, self._labels, setup, micro_batch)
        return network


def begin_kernels(recipe: Recipe) -> None:
    """Let the kernels that `choose` may ask for be compiled meanwhile: two seconds of a first start."""
    if precision.device() == "cpu" and recipe.train.kernels != "direct":
        build.begin(precision.DTYPES[_numbers(recipe)])


def resolve(recipe: Recipe, card: DataCard, reporter: Reporter) -> Recipe:
    """The recipe with nothing left at `auto` or to an architecture's default; the choice is told."""
    choice = choose(recipe, card, reporter)
    reporter.note(f"set-up: {choice.setup} ({choice.why})")
    return with_setup(recipe, choice.setup)


def with_setup(recipe: Recipe, setup: Setup) -> Recipe:
    """The recipe with `setup` stated, its architecture's own values, and the content of its first weights."""
    train = recipe.train.model_copy(update=setup.model_dump())
    return weights.pin(recipe.model_copy(update={"model": catalog.resolve(recipe.model), "train": train}))


def choose(recipe: Recipe, card: DataCard, reporter: Reporter) -> Choice:
    """The set-up for `recipe`: what it asks for, and for the rest what is fastest.

    That is what `bench` chose on this machine, if it fits. Otherwise up to three are timed: fp32; bf16, if it
    looks fast here; and compiled kernels in the coarser of these two. They run on the threads asked for,
    those that `bench` found best, or torch's own. The times are kept.
    A GPU's compiled kernels take a quarter of a minute to come, which many a run is too short for: they wait
    for `bench` or for a recipe that asks.
    """
    memory, key = memory_file(), memory_key(recipe, card)
    entry = recall(memory, key)
    threads = asked_threads(recipe) or (entry.best.threads if entry.best else torch.get_num_threads())
    if warning := busy_warning(threads):
        reporter.note(warning)
    possible = options(recipe, card, threads)
    if entry.best in possible:
        return Choice(entry.best, "chosen by toynet bench on this machine")
    wanted = [setup for setup in possible if setup.memory_format == possible[0].memory_format]
    why = "as asked for"
    if precision.device() == "cuda" and recipe.train.kernels == "auto":
        wanted = [setup for setup in wanted if setup.kernels == "direct"]
        why += "; toynet bench would try compiled kernels"
    if len(wanted) == 1:
        return Choice(wanted[0], why)
    known = [timing for timing in entry.timings if timing.setup in possible]
    when = "timed before on this machine"
    if not set(wanted) <= {timing.setup for timing in known}:
        known = list(time_setups(wanted, _short_trial(recipe, card)))
        when = "timed just now" if remember(memory, key, entry.with_timings(known)) else "not remembered"
    chosen = fastest(known).setup
    return Choice(chosen, f"{explain(chosen, known)}; {when}")


def _short_trial(recipe: Recipe, card: DataCard) -> Callable[[Setup], float]:
    """Seconds of a pass, reckoned from fewer images where one is much work: the first training on a machine
    is waited for."""
    count = recipe.train.micro_batch or recipe.train.batch_size
    flop = PASSES * FLOP_PER_MAC * cost(subject.build_model(recipe, card), card.image_shape).macs
    # A matrix unit takes so many at once, or leaves a part of it idle.
    block = matrix.SIDE if matrix.is_promised() else 1
    enough = max(_FEWEST_IMAGES, block, int(_ENOUGH_FLOP / flop))
    images = min(count, enough // block * block)
    trial = Trial(recipe, card, images)
    return lambda setup: trial.seconds(setup) * count / images


def asked_threads(recipe: Recipe) -> int | None:
    """The threads that the recipe or the environment names; none leaves the choice to us."""
    named = any(os.environ.get(variable) for variable in _THREAD_VARIABLES)
    return recipe.train.threads or (torch.get_num_threads() if named else None)


def options(recipe: Recipe, card: DataCard, threads: int) -> tuple[Setup, ...]:
    """The set-ups on `threads` threads that `recipe` leaves to choose from, from the plainest to the boldest.

    Dropout of whole maps draws in the order of their memory, so there the order is not ours to choose.
    """
    promising = precision.promising(precision.device())
    lacking = no_kernels(_numbers(recipe))
    if recipe.train.kernels == "compiled" and lacking:
        raise UsageError(f"train.kernels=compiled cannot be had: {lacking}; set it to auto")
    orders: tuple[MemoryFormat, ...] = ("channels_last", "contiguous")
    formats = orders[:1] if recipe.model.conv_dropout else orders
    return candidates(recipe.train, threads, compiled=not lacking, precisions=promising, formats=formats)


def _numbers(recipe: Recipe) -> Precision:
    """What maps would hold with compiled kernels."""
    asked = recipe.train.precision
    return precision.promising(precision.device())[-1] if asked == "auto" else asked


def no_kernels(numbers: Precision) -> str | None:
    """Why there are no compiled kernels here for maps of `numbers`; none where there are."""
    device = precision.device()
    if device == "cuda":
        return None if find_spec("triton") else "torch.compile needs Triton, which is not installed"
    return build.obstacle(precision.DTYPES[numbers]) if device == "cpu" else f"there are none for {device}"


def memory_file() -> Path:
    """Where the times and choices of all models are kept."""
    return places.cache_folder() / "fastest.json"


def memory_key(recipe: Recipe, card: DataCard) -> str:
    """Names all that a step's time depends on, besides the set-up."""
    device = precision.device()
    where = torch.cuda.get_device_name() if device == "cuda" else f"{device}, {usable_cores()} cores"
    model = catalog.resolve(recipe.model).model_dump_json(exclude=_NO_WORK)
    size = recipe.train.micro_batch or recipe.train.batch_size
    return f"{fingerprint()} | {where} | kernels {build.sources()} | {model} | {size}x{card.image_shape}"
