"""Training, readable at one sight.

augment -> forward -> loss -> backward -> step -> evaluate -> record -> save, in that order. Whatever is
random is a pure function of the seed and the position, so a run that stops anywhere continues as if it
had not stopped.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from toynet.augment import pipeline
from toynet.augment.spec import AugmentSpec
from toynet.core.errors import Diverged, Interrupted
from toynet.core.records import EpochRecord
from toynet.core.reporter import Reporter
from toynet.core.seeds import derive
from toynet.data import batches
from toynet.training import losses, optimizers, schedules
from toynet.training.course import Course
from toynet.training.distributed import ALONE, Ranks
from toynet.training.freezing import freeze
from toynet.training.images import TrainingImages, load, look_ahead
from toynet.training.interrupts import StopFlag
from toynet.training.learner import Learner
from toynet.training.precision import arithmetic, seed_dropout
from toynet.training.resolution import shrink
from toynet.training.setup import Setup, in_steps
from toynet.training.shares import Share
from toynet.training.spec import LossSpec, OptimSpec, ScheduleSpec, TrainSpec

Score = tuple[float, float]
"""Loss and accuracy."""


@dataclass(frozen=True)
class Plan:
    """What a run does, as far as the loop is concerned."""

    train: TrainSpec
    loss: LossSpec
    optim: OptimSpec
    schedule: ScheduleSpec
    augment: AugmentSpec
    classes: int
    setup: Setup


def train(
    learner: Learner,
    plan: Plan,
    data: TrainingImages,
    *,
    validate: Callable[[nn.Module], Score] | None,
    record: Callable[[EpochRecord], None],
    save: Callable[[Learner], object],
    stop: StopFlag,
    reporter: Reporter,
    ranks: Ranks = ALONE,
) -> None:
    """Train until the planned epochs are done or early stopping ends them.

    Several `ranks` each take a share of every batch and all make the same updates. Raises `Diverged` before
    an update that is not finite; `Interrupted`, after saving, when `stop` is set on any rank.
    """
    spec, state, model = plan.train, learner.state, learner.model
    images_in_all = len(data.labels)
    course = Course.of(spec, images_in_all)
    rate = schedules.build(plan.schedule, epochs=spec.epochs, steps_per_epoch=course.steps_per_epoch)
    loss_function = losses.build(plan.loss, data.labels.bincount(minlength=plan.classes))
    evenly = data.labels.cpu().numpy() if spec.sampling == "balanced" else None
    network = in_steps(model, plan.setup, alone=ranks.size == 1)

    while state.epoch < spec.epochs and not _waited_enough(learner, spec):
        epoch = state.epoch
        model.train()
        order = batches.order(images_in_all, seed=spec.seed, epoch=epoch, balance=evenly)
        before = None
        if learner.seen is not None:
            order, before = learner.seen.epoch(order, course.counts[epoch], begun=state.batch > 0)
        draws = pipeline.draw(plan.augment, order, seed=spec.seed, epoch=epoch, before=before)
        count = len(order)
        indices = torch.from_numpy(order).to(data.labels.device)
        reporter.begin(f"epoch {epoch + 1}/{spec.epochs}", count - state.sums.images, "images")

        for rows in batches.batches(count, spec.batch_size, start=state.batch):
            started = time.perf_counter()
            share = ranks.share(rows, together=spec.batch_norm == "sync")
            images, labels = _augmented(plan, data, indices, draws, rows, share)
            look_ahead(data, indices[rows.stop : rows.stop + spec.batch_size])
            progress = course.progress(state.step)
            images = shrink(images, spec.small, progress)
            seed_dropout(derive(spec.seed, "dropout", state.step, *ranks.stream), images.device.type)
            freeze(model, spec.freeze, progress)
            optimizers.set_rate(learner.optimizers, rate, course.place(state.step), state.plateau.factor)
            each = None if learner.seen is None else torch.zeros(len(images), device=images.device)
            loss, correct = forward_backward(
                network, loss_function, images, labels, plan.setup, spec.micro_batch, share, each
            )
            if learner.seen is not None and each is not None:
                learner.seen.note(order[rows], ranks.whole_batch(each, share, rows))
            average = share.weight if spec.batch_norm == "rank" else None
            loss, correct = ranks.combine(model, loss, correct, average)
            norm = gradient_norm(model, plan.optim.clip_norm)
            _check_finite(loss, norm, step=state.step, epoch=epoch)
            for optimizer in learner.optimizers:
                optimizer.step()
            state.step += 1
            state.batch += 1
            if learner.average is not None:
                learner.average.update(model, state.step)
            _add(learner, loss, correct, norm, share.whole, time.perf_counter() - started)
            reporter.advance(share.whole)
            _stop_if_asked(stop, learner, save, ranks)

        score = _score(learner, validate)
        lr = plan.optim.lr * rate(course.place(state.step - 1)) * state.plateau.factor
        line = _close_epoch(learner, plan, score, lr)
        record(line)
        reporter.epoch(line, spec.epochs)
        _check_score(score, step=state.step, epoch=epoch)
        if _worth_saving(learner, spec):
            save(learner)
        _stop_if_asked(stop, learner, save, ranks)


def _augmented(
    plan: Plan, data: TrainingImages, indices: Tensor, draws: pipeline.Draws, rows: slice, share: Share
) -> tuple[Tensor, Tensor]:
    """This rank's share of the batch at `rows`, augmented. Mixing needs the whole, for partners are in it."""
    seen = rows if plan.augment.mixup or plan.augment.cutmix else share.rows
    images, labels = load(data, indices[seen])
    images, labels = pipeline.augment(plan.augment, images, labels, draws, seen, classes=plan.classes)
    mine = slice(share.rows.start - seen.start, share.rows.stop - seen.start)
    return images[mine], labels[mine]


def forward_backward(
    model: nn.Module,
    loss_function: losses.Loss,
    images: Tensor,
    labels: Tensor,
    setup: Setup,
    micro_batch: int | None,
    share: Share | None = None,
    each: Tensor | None = None,
) -> tuple[float, int]:
    """Leave the gradient of the batch's mean loss in the model; returns that loss and the number correct.

    The batch passes in pieces of `micro_batch` images, each weighted by its share. Where these images are
    only a rank's `share` of the batch, so are gradient, loss and number. Into `each` (B,), if given, goes
    the cross entropy of every image, in nats, without label smoothing or weights.
    """
    # Of each piece its loss and number correct, read once: a GPU waits for its reader.
    found: list[Tensor] = []
    whole, reach = (share.whole, share.reach) if share else (len(images), len(images))
    size = micro_batch or max(reach, 1)
    images = images.contiguous(memory_format=setup.layout)
    # Where passes are replayed, a second one writes its gradient where the first one did.
    own_memory = images.is_cuda and size < reach
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter) if own_memory and parameter.requires_grad else None
    for first in range(0, reach, size):
        piece, target = images[first : first + size], labels[first : first + size]
        with arithmetic(setup.precision, images.device.type):
            logits = model(piece)
        # A piece without images only keeps the other ranks company in their batch norm.
        loss = loss_function(logits, target) * (len(piece) / whole) if len(piece) else logits.sum()
        loss.backward()
        if each is not None and len(piece):
            logits_now = logits.detach().float()
            each[first : first + size] = functional.cross_entropy(logits_now, target, reduction="none")
        truth = target if target.ndim == 1 else target.argmax(dim=1)
        correct = (logits.detach().argmax(dim=1) == truth).sum()
        found.append(torch.stack([loss.detach().float(), correct.float()]))
        del logits, loss  # a recording must find nothing of the passes before it alive
    rows = torch.stack(found).tolist() if found else []
    return sum((loss for loss, _ in rows), 0.0), int(sum(correct for _, correct in rows))


def gradient_norm(model: nn.Module, clip_norm: float) -> float:
    """The norm of the whole gradient, which is scaled down to `clip_norm` where that is set and exceeded."""
    parameters = [p for p in model.parameters() if p.grad is not None]
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if clip_norm:
        nn.utils.clip_grads_with_norm_(parameters, clip_norm, norm)
    return norm.item()


def _check_finite(loss: float, norm: float, *, step: int, epoch: int) -> None:
    if math.isfinite(loss) and math.isfinite(norm):
        return
    what = f"loss is {loss}" if not math.isfinite(loss) else f"gradient norm is {norm}"
    raise Diverged(
        f"diverged at step {step + 1} (epoch {epoch + 1}): the {what}; the update was not applied",
        step=step,
        epoch=epoch,
    )


def _check_score(score: Score | None, *, step: int, epoch: int) -> None:
    if score is not None and not math.isfinite(score[0]):
        raise Diverged(
            f"diverged by step {step} (epoch {epoch + 1}): the validation loss is {score[0]}",
            step=step,
            epoch=epoch,
        )


def _add(learner: Learner, loss: float, correct: int, norm: float, images: int, seconds: float) -> None:
    sums = learner.state.sums
    sums.loss += loss * images
    sums.correct += correct
    sums.images += images
    sums.grad_norm += norm
    sums.batches += 1
    sums.seconds += seconds


def _score(learner: Learner, validate: Callable[[nn.Module], Score] | None) -> Score | None:
    """Validate the averaged weights where an average is kept, the plain ones elsewhere."""
    if validate is None:
        return None
    started = time.perf_counter()
    if learner.average is None:
        score = validate(learner.model)
    else:
        with learner.average.swapped_into(learner.model):
            score = validate(learner.model)
    learner.state.elapsed_s += time.perf_counter() - started
    return score


def _close_epoch(learner: Learner, plan: Plan, score: Score | None, lr: float) -> EpochRecord:
    """Move the cursor to the next epoch and turn the sums of this one into its record."""
    state = learner.state
    sums = state.sums
    state.elapsed_s += sums.seconds
    state.epoch, state.batch, state.sums = state.epoch + 1, 0, type(sums)()
    if score is not None:
        if plan.schedule.plateau is not None:
            state.plateau.observe(plan.schedule.plateau, score[0])
        is_better = state.best_val_accuracy is None or score[1] > state.best_val_accuracy
        if is_better and math.isfinite(score[0]):
            state.best_val_accuracy, state.best_epoch = score[1], state.epoch
    return EpochRecord(
        epoch=state.epoch,
        step=state.step,
        lr=lr,
        train_loss=sums.loss / sums.images,
        train_accuracy=sums.correct / sums.images,
        val_loss=score[0] if score else None,
        val_accuracy=score[1] if score else None,
        grad_norm=sums.grad_norm / sums.batches,
        elapsed_s=state.elapsed_s,
        images_per_s=sums.images / sums.seconds,
    )


def _stop_if_asked(stop: StopFlag, learner: Learner, save: Callable[[Learner], object], ranks: Ranks) -> None:
    signal_number = ranks.largest(stop.signal_number or 0)
    if not signal_number:
        return
    save(learner)
    ranks.wait()  # nobody leaves before all is saved
    raise Interrupted(
        f"stopped after {learner.state.epoch} epochs, step {learner.state.step}; "
        "everything is saved, go on with --resume",
        signal_number=signal_number,
    )


def _waited_enough(learner: Learner, spec: TrainSpec) -> bool:
    """Whether early stopping is on and its patience is spent."""
    state = learner.state
    return bool(spec.early_stop) and state.epoch - (state.best_epoch or state.epoch) >= spec.early_stop


def _worth_saving(learner: Learner, spec: TrainSpec) -> bool:
    state = learner.state
    due = state.epoch % spec.checkpoint_every == 0 or state.epoch == spec.epochs
    return due or state.epoch == state.best_epoch or _waited_enough(learner, spec)
