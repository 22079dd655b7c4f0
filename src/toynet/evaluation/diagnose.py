"""What the curves of one run say, and the one change to try next: the report's reading (section 3.2).

The report's authors look at accuracy, loss and learning rate and conclude: validation that jumps while the
rate is high and calms when it drops means too high a rate; curves still falling mean too few epochs or too
low a rate; a gap between train and validation, or a validation loss that rises, means overfitting. Here
each conclusion has a threshold. Deviation: they often changed several factors at once, we change one.

All of this is heuristic and reads a single run. Whether the change helps is for a study to say.
"""

from collections.abc import Sequence

import numpy as np

from toynet.core.records import EpochRecord, LayerActivation
from toynet.evaluation.curves import HIGH_LR, LOW_LR, OPENING_EPOCHS, TAIL, Curves, end_of, fall, jump, slope
from toynet.evaluation.findings import (
    GENTLER,
    Change,
    Finding,
    Settings,
    Severity,
    finding,
    regularised,
    scaled,
)
from toynet.evaluation.metrics import ClassScore
from toynet.evaluation.outcome import from_classes, from_layers
from toynet.evaluation.settling import SETTLED, epochs_to_settle, remainder

MIN_EPOCHS = 4  # fewer points show neither trend nor unrest
ANNEALED_LR = 0.015  # of the largest rate: below this a schedule has come to its end
UNREST_ACCURACY = 0.02  # a healthy small ToyNet at Adam 1e-3 shows 0.01 (measured on 2,500 images)
RESTLESS, CALMED = 0.014, 8.0  # less than unrest, but calmed by a low rate: 0.016 and 24-fold in our rerun of
# the report's first case, whose authors conclude from this picture that the rate was too high
UNREST_LOSS = 0.06  # of the loss, twice that healthy run's; both must jump: few images move accuracy alone
UNREST_EPOCHS = 8  # fewer measure no unrest
UNREST_COINS = 2.0  # standard errors of an accuracy of so many images; of 5,000 at 70 % that is 0.013
UNREST_RATIO = 2.5  # against the calm phase: a small validation set is noisy throughout
DROP, DROP_EPOCHS = 0.5, 5  # a step at least halves the rate; epochs compared before it
DROP_GAIN = 0.045  # accuracy at once beyond the trend; measured 0.05 at Adam 1e-2, 0.07 at a sound 1e-3
RELAPSE, RELAPSE_NATS = 1.5, 0.3  # a training loss this far above its lowest has been thrown back
STUCK = 0.98  # of the first epoch's loss: nothing was learnt
STILL = 0.03  # of it: a loss that stays within never moved, and does not tell why
SMOOTH_ACCURACY = 0.007  # sampling alone moves accuracy by 0.003 to 0.006 with thousands of images
FAR_FROM_FITTED = 0.85  # training accuracy below which a smooth, falling curve was merely slow
STEADY_SHARE = 0.15  # of the high-rate fall, in its last third: a straight line has 0.33, a plateau 0
STEADY_EPOCHS = 0.9  # of the high-rate epochs that must lower the training loss
CLEAR_FALL, CLEAR_T = 0.04, 4.0  # over the end of the run: of the loss, and slope in standard errors
CLEAR_NATS = 0.01  # a loss that falls by less is at its floor, whatever the share
GAP, WIDE_GAP = 0.04, 0.08  # in accuracy; augmentation and dropout hide another 0.01 to 0.03 of it
GAP_LOSS_RATIO = 1.3  # validation over training loss, where training minimised the plain loss too
PLAIN_LOSS = "cross_entropy"
RISE, RISE_NATS, RISE_NOISE = 0.06, 0.02, 4.0  # above the lowest: share, nats, standard errors
TRAIN_FELL = 0.9  # of the training loss at the turn: it went on falling
MUCH_GENTLER, BOLDER, MUCH_BOLDER = 0.25, 3.0, 10.0  # factors on the learning rate
LONGER = 1.5  # factor on the epochs


def diagnose(
    records: Sequence[EpochRecord],
    *,
    settings: Settings,
    per_class: Sequence[ClassScore] | None = None,
    activations: Sequence[LayerActivation] | None = None,
    diverged: bool = False,
    passes: int | None = None,
) -> list[Finding]:
    """Findings, the most serious first; never empty. Validation may be missing in some or all records.

    `settings` maps dotted recipe keys (`optim.lr`) to the run's values; only a key that is there is ever
    suggested, so a `change` is one the recipe accepts. `diverged` tells that the run ended so: its last
    step is in no record. `passes` are the forward passes that the records tell of.
    """
    found = [*from_layers(activations or (), settings), *from_classes(per_class or ())]
    broken = [row.epoch for row in records if not np.isfinite([row.train_loss, row.val_loss or 0.0]).all()]
    if diverged or broken:
        where = f"in epoch {broken[0] if broken else len(records) + 1} the loss stopped being finite"
        found.append(finding("diverged", where, scaled(settings, "optim.lr", MUCH_GENTLER), "serious"))
    elif short := _too_short(records, settings, passes):
        found += short
    else:
        curves = Curves.of(records, val_images=sum(score.n for score in per_class or ()))
        readings = (
            _not_learning,
            _lr_too_high,
            _lr_too_low,
            _not_converged,
            _overfitting,
            _val_loss_rising,
            _unvalidated,
        )
        found += [one for reading in readings if (one := reading(curves, settings))]
    if not found:
        score = f"training loss ends at {records[-1].train_loss:.3f} after {len(records)} epochs"
        found.append(finding("nothing-stands-out", f"{score}, and the curves are calm", {}, "note"))
    return sorted(found, key=lambda one: ("serious", "moderate", "note").index(one.severity))


def _too_short(records: Sequence[EpochRecord], settings: Settings, passes: int | None) -> list[Finding]:
    """Few epochs show no trend; after few passes validation says little of the weights."""
    found, epochs = [], len(records)
    if epochs < MIN_EPOCHS:
        text = f"{epochs} of the {MIN_EPOCHS} epochs that a trend takes are on record"
        found.append(finding("too-short", text, {}, "note"))
    remains = remainder(settings, passes) if passes else 0.0
    if remains > SETTLED:
        text = (
            f"after {passes} batches {100 * remains:.0f} % of the averages that stand for a batch's own in "
            "validation are still what they began as"
        )
        whole = settings.get("train.epochs") == epochs
        change: Change = {"train.epochs": epochs_to_settle(remains, epochs)} if whole else {}
        found.append(finding("few-steps", text, change, "note"))
    return found


def _not_learning(c: Curves, settings: Settings) -> Finding | None:
    """A loss that never moved: weights that hardly did, or a network that died in its first steps.

    One that died guesses all classes alike, at the loss that its accuracy tells.
    """
    if not _is_still(c):
        return None
    end, guessing = end_of(c.train_loss).mean(), -np.log(max(end_of(c.train_accuracy).mean(), 1e-9))
    text = f"training loss has not moved: {c.train_loss[0]:.3f} in the first epoch, {end:.3f} at the end"
    if end <= (1 + STILL) * guessing:
        return finding("not-learning", text, {}, "serious")
    text += f", which is above that of equal guesses, {guessing:.3f}: the weights hardly moved"
    return finding("not-learning", text, scaled(settings, "optim.lr", MUCH_BOLDER), "serious")


def _is_still(c: Curves) -> bool:
    moved = np.abs(c.train_loss - c.train_loss[0]).max()
    return bool(moved <= STILL * c.train_loss[0] and end_of(c.train_accuracy).mean() < 0.5)


def _lr_too_high(c: Curves, settings: Settings) -> Finding | None:
    """Clear unrest or a relapse is proof; less unrest and a gain at the first drop are hints without it."""
    relapse, (unrest, clear), gain = _relapse(c), _unrest(c), _gain_at_first_drop(c)
    change = scaled(settings, "optim.lr", GENTLER)
    if not relapse and not clear:
        hints = "; ".join(text for text in (unrest, gain) if text)
        code = "val-restless" if unrest else "lr-drop-gain"
        return finding(code, hints, change, "note") if hints else None
    signs = [text for text in (relapse, unrest, gain) if text]
    return finding("lr-too-high", "; ".join(signs), change, "serious" if relapse or gain else "moderate")


def _relapse(c: Curves) -> str:
    first, lowest, end = c.train_loss[0], c.train_loss.min(), end_of(c.train_loss).mean()
    if end > RELAPSE * lowest and end > lowest + RELAPSE_NATS:
        return f"training loss rose again, from {lowest:.3f} to {end:.3f}"
    steady = (np.diff(c.train_loss) < 0).mean() >= STEADY_EPOCHS
    if end >= STUCK * first and not steady and not _is_still(c) and end_of(c.train_accuracy).mean() < 0.5:
        return f"training loss has not fallen: {first:.3f} in the first epoch, {end:.3f} at the end"
    return ""


def _unrest(c: Curves) -> tuple[str, bool]:
    """Validation that jumps while the rate is high and is calm when it is low; and whether that is proof.

    Of few images each weighs much: what as many coins would do is nobody's doing.
    """
    high, low = c.high()[c.seen], (c.lr <= LOW_LR * c.lr.max())[c.seen]
    if high.sum() < UNREST_EPOCHS:
        return "", False
    leap, calm = jump(c.val_accuracy[high]), jump(c.val_accuracy[low]) if low.sum() >= 4 else 0.0
    level = c.val_accuracy[high].mean()
    if c.val_images and leap < UNREST_COINS * np.sqrt(level * (1 - level) / c.val_images):
        return "", False
    clear = leap >= max(UNREST_ACCURACY, UNREST_RATIO * calm)
    restless = leap >= RESTLESS and 0 < calm <= leap / CALMED
    if (not clear and not restless) or jump(c.val_loss[high]) < UNREST_LOSS * c.val_loss[high].mean():
        return "", False
    later = f", by {100 * calm:.1f} once it is low" if calm else ""
    text = f"validation accuracy jumps by {100 * leap:.1f} points while lr is near {c.lr.max():.2g}{later}"
    return text, clear


def _gain_at_first_drop(c: Curves) -> str:
    """What the first step of the schedule gains in validation accuracy beyond the trend before it.

    A step in the opening fifth meets a curve that still rises steeply, and is passed over. The trend is the
    lesser slope of train and validation: the former hardly has noise, the latter may lag behind it.
    """
    n, level = len(c.lr), c.lr[:-1] >= HIGH_LR * c.lr.max()
    drops = np.flatnonzero(level & (c.lr[1:] <= DROP * c.lr[:-1])) + 1
    if not len(drops) or drops[0] < max(DROP_EPOCHS + OPENING_EPOCHS, TAIL * n):
        return ""
    first = int(drops[0])
    before = (c.seen < first) & (c.seen >= first - DROP_EPOCHS)
    after = (c.seen >= first) & (c.seen < first + 3)
    if before.sum() < 3 or after.sum() < 2:
        return ""
    then, val = c.seen[before], c.val_accuracy
    trend = max(0.0, min(slope(then, val[before]), slope(then, c.train_accuracy[then])))
    gain = val[after].mean() - val[before].mean() - trend * (c.seen[after].mean() - then.mean())
    if gain < DROP_GAIN:
        return ""
    return f"the first drop of lr, at epoch {c.epoch[first]:.0f}, gained {100 * gain:.1f} points at once"


def _lr_too_low(c: Curves, settings: Settings) -> Finding | None:
    high = c.high()
    loss, val = c.train_loss[high], c.val_accuracy[high[c.seen]]
    averaged = settings.get("train.ema")  # averaged weights validate smoothly at any rate
    if min(len(loss), len(val)) < 5 or _mixes(settings) or averaged:
        return None
    end, val_end = end_of(c.train_accuracy).mean(), end_of(c.val_accuracy).mean()
    straight = loss[-1 - len(loss) // 3] - loss[-1] >= STEADY_SHARE * (loss[0] - loss[-1]) > 0
    steady = straight and (np.diff(loss) < 0).mean() >= STEADY_EPOCHS
    fitted = end >= FAR_FROM_FITTED or end - val_end >= GAP / 2
    if fitted or not steady or jump(val) > SMOOTH_ACCURACY:
        return None
    text = (
        f"training accuracy ends at {100 * end:.1f} %; at lr near {c.lr.max():.2g} both curves moved "
        f"smoothly and training loss came down to {loss[-1]:.3f} without a plateau"
    )
    return finding("lr-too-low", text, scaled(settings, "optim.lr", BOLDER), "moderate")


def _not_converged(c: Curves, settings: Settings) -> Finding | None:
    annealed = 2 * c.lr[-1] - c.lr[-2] <= ANNEALED_LR * c.lr.max()
    if annealed or _lr_too_low(c, settings):
        return None
    sides = [("training", c.epoch, c.train_loss), ("validation", c.epoch[c.seen], c.val_loss)]
    falling = []
    for name, epoch, loss in sides:
        if len(loss) < MIN_EPOCHS:
            continue
        drop, t = fall(end_of(epoch), end_of(loss))
        clear = max(CLEAR_NATS, CLEAR_FALL * end_of(loss).mean())
        if t >= CLEAR_T and drop >= clear:
            falling.append(f"{name} loss fell by {drop:.3f}")
        if name == "validation" and t <= -CLEAR_T / 2 and drop <= -clear:
            return None
    if not falling:
        return None
    planned = settings.get("train.epochs")
    early = isinstance(planned, int) and c.epoch[-1] < planned
    stop = f"; the run stopped at epoch {c.epoch[-1]:.0f} of {planned}" if early else ""
    text = (
        f"in the last {len(end_of(c.epoch))} epochs {' and '.join(falling)}, with lr still at {c.lr[-1]:.2g}"
    )
    change: Change = {} if early else scaled(settings, "train.epochs", LONGER)
    return finding("not-converged", text + stop, change, "moderate")


def _overfitting(c: Curves, settings: Settings) -> Finding | None:
    if not len(c.seen):
        return None
    train, val = end_of(c.train_accuracy[c.seen]).mean(), end_of(c.val_accuracy).mean()
    train_loss, val_loss = end_of(c.train_loss[c.seen]).mean(), end_of(c.val_loss).mean()
    plain = settings.get("loss.name", PLAIN_LOSS) == PLAIN_LOSS and not settings.get("loss.label_smoothing")
    plain = plain and not _mixes(settings)
    if train - val < GAP or (plain and val_loss < GAP_LOSS_RATIO * train_loss):
        return None
    losses = f"; the losses are {train_loss:.3f} and {val_loss:.3f}" if plain else ""
    text = (
        f"it ends with {100 * train:.1f} % of the training and {100 * val:.1f} % of the validation images "
        f"right, a gap of {100 * (train - val):.1f} points{losses}"
    )
    severity: Severity = "serious" if train - val >= WIDE_GAP else "moderate"
    return finding("overfitting", text, regularised(settings), severity)


def _val_loss_rising(c: Curves, settings: Settings) -> Finding | None:
    width = max(3, len(c.seen) // 20)
    if len(c.seen) < 3 * width:
        return None
    smooth = np.convolve(c.val_loss, np.ones(width) / width, "valid")
    turn = int(smooth.argmin()) + width // 2
    if len(c.seen) - turn < 2 * width:
        return None
    low, now, noise = smooth.min(), smooth[-1], jump(c.val_loss[turn:]) / np.sqrt(width)
    train_then, train_now = c.train_loss[c.seen[turn]], end_of(c.train_loss).mean()
    if now - low < max(RISE_NATS, RISE * low, RISE_NOISE * noise) or train_now > TRAIN_FELL * train_then:
        return None
    text = (
        f"since epoch {c.epoch[c.seen[turn]]:.0f} validation loss rose from {low:.3f} to {now:.3f} while "
        f"training loss fell from {train_then:.3f} to {train_now:.3f}"
    )
    smoothing = settings.get("loss.label_smoothing", 1.0)
    change: Change = regularised(settings) if smoothing else {"loss.label_smoothing": 0.1}
    return finding("val-loss-rising", text, change, "moderate")


def _unvalidated(c: Curves, settings: Settings) -> Finding | None:
    if len(c.seen):
        return None
    change: Change = {"data.protocol": "standard"} if settings.get("data.protocol") == "full" else {}
    return finding("no-validation", f"no score in any of {len(c.epoch)} epochs", change, "note")


def _mixes(settings: Settings) -> bool:
    """Whether training images are blends, which makes training accuracy and loss speak of another task."""
    return bool(settings.get("augment.mixup") or settings.get("augment.cutmix"))
