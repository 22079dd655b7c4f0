"""Studies that nobody ran: journals and run folders as real ones are, from a few numbers.

`specimens.py` draws their pages.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from toynet.core.files import write_json
from toynet.core.records import EpochRecord, LayerActivation, RunResult
from toynet.core.seeds import stream
from toynet.runs.folder import DataCard, RunFolder
from toynet.runs.recipe import Recipe
from toynet.studies import design
from toynet.studies.design import Arm, Size
from toynet.studies.folder import Account, StudyFolder
from toynet.studies.ledger import Entry, pack
from toynet.studies.plan import Plan
from toynet.studies.spec import StudySpec, Variant

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
HOSTILE = "<img src=x onerror=alert(1)>"
MACHINE = "Intel(R) Xeon(R) Processor [avx2 avx512f avx512_bf16] torch 2.13.0+cpu, bf16"
ENVIRONMENT = {
    "processor": "Intel(R) Xeon(R) Processor",
    "flags": ["avx2", "avx512f", "avx512_bf16"],
    "cores": 2,
    "memory_gib": 23.5,
    "system": "Linux x86_64",
    "python": "3.11.7",
    "packages": {"toynet-lab": "0.1.0", "torch": "2.13.0+cpu", "numpy": "2.4.6"},
    "threads": 1,
    "device": "cpu",
}


def spec(name: str = "augmentations", **changes: Any) -> StudySpec:
    """Four changes to the quick recipe."""
    table = {
        "question": "Which augmentations help to recognise everyday objects?",
        "recipe": "quick",
        "seeds": 5,
        "set": {"train.epochs": 16},
        "variant": {
            "shift": {"augment.shift": 0.2, "note": "Objects lie anywhere in the image."},
            "flip": {"augment.flip": "random", "note": "A mirrored car is a car, a mirrored 2 is no 2."},
            "dropout": {"model.dropout": 0.4},
            "tiny_rotation": {"augment.rotate_deg": 0.01, "note": "Moves no pixel."},
        },
    }
    return StudySpec.from_table(name, table | changes)


EFFECTS = {"shift": 3.2, "flip": -2.1, "dropout": 0.35, "tiny_rotation": 0.0}


def study(
    path: Path,
    wanted: StudySpec,
    effects: Mapping[str, float],
    *,
    seeds: int = 5,
    images: int = 5000,
    base: float = 88.0,
    sigma: float = 0.22,
    diverged: Collection[tuple[str, int]] = (),
    larger: Collection[str] = (),
    folders: bool = True,
    classes: Sequence[str] = CLASSES,
    names: Mapping[str, str] | None = None,
    stopped: Mapping[str, int] | None = None,
) -> Account:
    """The account of a study below `path`. effects: points by arm, against the arm it is compared with (a
    factor's by its key). larger: arms with twice the operations. names: other names for arms. stopped: arms
    that had their verdict after so many seeds.
    """
    arms = _renamed(design.arms(wanted), names or {})
    wanted = (
        wanted.model_copy(
            update={"variants": tuple(Variant(name=arm.name, changes={"x": 0}) for arm in arms[1:])}
        )
        if names
        else wanted
    )
    sizes = {
        arm.name: Size(
            epochs=arm.recipe.train.epochs,
            samples=arm.recipe.train.epochs * 20_000,
            parameters=1_204_810,
            macs=38_400_000 * (2 if arm.name in larger else 1),
        )
        for arm in arms
    }
    folder = StudyFolder(path / wanted.name)
    folder.path.mkdir(parents=True)
    plan = Plan(
        spec=wanted,
        arms=arms,
        sizes=sizes,
        classes=len(classes),
        digest="c0ffee" * 12,
        test_digest="b" * 64,
    )
    folder.ledger.write_plan(plan.model_dump(mode="json"))
    parts = ("val", "test") if wanted.metric == "test_accuracy" else ("val",)
    means: dict[str, float] = {}
    ease = stream(1, "ease").normal(size=images)
    for arm in arms:
        gain = _gain(wanted, arm, effects)
        means[arm.name] = means.get(arm.against or "", base) + gain
        for place in range((stopped or {}).get(arm.name, seeds)):
            seed = wanted.first_seed + place
            score = means[arm.name] + _noise(arm.name, seed, sigma)
            lost = (arm.name, seed) in diverged
            entry = _run(folder, arm, seed, score, ease, sizes[arm.name], lost, folders, classes, parts)
            folder.ledger.write_run(entry)
    return folder.account()


def hostile(path: Path) -> Account:
    """Names that want to be markup, names that are too long, names in other letters."""
    long = "a_very_long_name_" * 7
    names = {
        "shift": HOSTILE,
        "flip": long,
        "dropout": "随机失活与数据增强的影响",
        "tiny_rotation": "a|b`c`*d*_e_",
    }
    asked = (
        f"Does {HOSTILE} help? </title></style><script>alert(2)</script> {{{{ 7 * 7 }}}} [x](javascript:y)"
    )
    account = study(
        path,
        spec("hostile", question=asked),
        {new: EFFECTS[old] for old, new in names.items()},
        classes=(HOSTILE, "猫", "x" * 70, "a|b", *CLASSES[4:]),
        names=names,
        diverged=[("a|b`c`*d*_e_", 2)],
    )
    return replace(account, name=f"{HOSTILE}</title>")


def _renamed(arms: Sequence[Arm], names: Mapping[str, str]) -> tuple[Arm, ...]:
    return tuple(
        arm.model_copy(update={"name": names.get(arm.name, arm.name), "note": HOSTILE if names else arm.note})
        for arm in arms
    )


def _gain(wanted: StudySpec, arm: Arm, effects: Mapping[str, float]) -> float:
    if not wanted.factors:
        return effects.get(arm.name, 0.0)
    on = [key for key, level in zip(wanted.factors, arm.levels, strict=True) if level]
    together = sum(effects.get(f"{a} x {b}", 0.0) for a in on for b in on)
    return sum(effects.get(key, 0.0) for key in on) + together


def _noise(arm: str, seed: int, sigma: float) -> float:
    shared = stream(seed, "block").normal(scale=0.5 * sigma)
    return float(shared + stream(seed, arm).normal(scale=sigma))


def _run(
    folder: StudyFolder,
    arm: Arm,
    seed: int,
    score: float,
    ease: np.ndarray,
    size: Size,
    lost: bool,
    folders: bool,
    classes: Sequence[str],
    parts: Sequence[str],
) -> Entry:
    draw, images = stream(seed, f"run {arm.name}"), len(ease)
    count = round(images * score / 100)
    correct = np.zeros(images, bool)
    if not lost:
        correct[np.argsort(-(ease + 0.16 * draw.normal(size=images)))[:count]] = True
    accuracy = None if lost else count / images
    seconds = 61.0 * size.macs / 38_400_000 * float(draw.uniform(0.98, 1.02))
    records = epochs(size.epochs, 0.1 if lost else count / images, draw, shown=5 if lost else size.epochs)
    result = RunResult(
        status="diverged" if lost else "finished",
        identity="0" * 64,
        recipe=arm.recipe.name,
        data=arm.recipe.data.name,
        protocol="standard",
        seed=seed,
        epochs=len(records),
        planned_epochs=size.epochs,
        stopped_at_step=812 if lost else None,
        reason="the loss was not finite at step 812" if lost else None,
        val_accuracy=accuracy,
        val_loss=None if lost else records[-1].val_loss,
        best_val_accuracy=None if lost else count / images + 0.002,
        best_epoch=None if lost else size.epochs,
        test_accuracy=accuracy,
        test_loss=None,
        train_s=seconds,
        images_per_s=size.samples / seconds,
        parameters=size.parameters,
        trainable_parameters=size.parameters,
        macs=size.macs,
        precision="bf16",
        threads=1,
    )
    if folders:
        run = folder.run(arm.name, seed)
        recipe = arm.recipe.with_changes({"train.seed": seed})
        write_run(run, recipe, records, correct, result, draw, classes, parts)
    told = result.model_dump(include=set(Entry.model_fields))
    scored = {} if lost else {"correct": pack(correct), "images": images}
    return Entry(arm=arm.name, outcome=result.status, whole_s=seconds + 2, machine=MACHINE, **told | scored)


def write_run(
    run: RunFolder,
    recipe: Recipe,
    records: Sequence[EpochRecord],
    correct: np.ndarray,
    result: RunResult,
    draw: np.random.Generator,
    classes: Sequence[str] = CLASSES,
    parts: Sequence[str] = ("val",),
) -> None:
    """A sealed run folder."""
    card = DataCard(
        name=recipe.data.name,
        classes=tuple(classes),
        image_shape=(32, 32, 3),
        mean=(125.0, 122.0, 113.0),
        std=(63.0, 62.0, 66.0),
        train_images=20_000,
        val_images=len(correct),
        test_images=len(correct),
        train_digest="a" * 64,
        test_digest="b" * 64,
        split_digest="c" * 64,
    )
    with RunFolder.create(run.path, recipe, card, ENVIRONMENT):
        pass
    lines = "".join(record.model_dump_json() + "\n" for record in records)
    (run.path / "metrics.jsonl").write_text(lines)
    if result.status != "diverged":
        np.savez_compressed(run.path / "predictions.npz", **predictions(correct, draw, classes, parts))
        layers = [
            LayerActivation(
                name=f"conv{k}", kind="ReLU", rms=1.0, max_abs=9.0, dead_fraction=0.02, finite=True
            )
            for k in range(3)
        ]
        write_json(run.path / "activations.json", [layer.model_dump() for layer in layers])
    run.seal(result)


def predictions(
    correct: np.ndarray, draw: np.random.Generator, classes: Sequence[str], parts: Sequence[str]
) -> dict[str, np.ndarray]:
    """Logits that are right where they are to be; each class has one that it is taken for."""
    images, kinds = len(correct), len(classes)
    labels = np.arange(images) % kinds
    wrong = np.where(
        draw.random(images) < 0.6, (labels + 2) % kinds, (labels + draw.integers(1, kinds, images)) % kinds
    )
    chosen = np.where(correct, labels, wrong)
    logits = draw.normal(size=(images, kinds)).astype(np.float32)
    logits[np.arange(images), chosen] = logits.max(1) + draw.gamma(2.0, 1.2, images).astype(np.float32)
    rows = np.concatenate([np.flatnonzero(~correct)[:10], np.flatnonzero(correct)[:14]])
    shade = np.linspace(0, 1, 32)
    wave = np.sin(6 * shade[:, None] + draw.uniform(0, 6, (len(rows), 1, 1))) * np.cos(5 * shade[None, :])
    pictures = np.stack([128 + 100 * wave, 128 - 90 * wave, 90 + 60 * wave.transpose(0, 2, 1)], -1)
    scored = {f"{part}_logits": logits for part in parts} | {f"{part}_labels": labels for part in parts}
    return {
        **scored,
        "classes": np.array(classes),
        "gallery_rows": rows,
        "gallery_images": pictures.astype(np.uint8),
    }


def epochs(count: int, end: float, draw: np.random.Generator, shown: int | None = None) -> list[EpochRecord]:
    """Curves that rise to `end`; the rate follows a cosine."""
    found = []
    for epoch in range(1, (shown or count) + 1):
        share = epoch / count
        risen = (1 - np.exp(-4 * share)) / (1 - np.exp(-4))
        noise = 0.012 * (1 - share)
        val = min(0.999, max(0.02, 0.3 + (end - 0.3) * risen + float(draw.normal(scale=noise))))
        found.append(
            EpochRecord(
                epoch=epoch,
                step=157 * epoch,
                lr=2e-3 * (0.5 + 0.5 * float(np.cos(np.pi * (share - 1 / count)))) + 1e-6,
                train_loss=2.1 - 1.75 * risen + float(draw.normal(scale=0.01)),
                train_accuracy=min(0.999, 0.25 + (end - 0.22) * risen + float(draw.normal(scale=0.004))),
                val_loss=2.0 - 1.6 * risen * end + float(draw.normal(scale=0.02)),
                val_accuracy=end if epoch == count else val,
                grad_norm=1.0,
                elapsed_s=3.8 * epoch,
                images_per_s=5_200.0,
            )
        )
    return found


def single_run(path: Path, classes: Sequence[str] = CLASSES, *, name: str = "quick-s3") -> RunFolder:
    """A run that was also scored on test images."""
    draw = stream(3, "single")
    correct = draw.random(2000) < 0.884
    recipe = Recipe.load("quick", {"train.seed": 3, "train.epochs": 24})
    run = RunFolder(path / name)
    accuracy = float(correct.mean())
    records = epochs(24, accuracy, draw)
    result = RunResult(
        status="finished", identity="e" * 64, recipe="quick", data="cifar10", protocol="standard", seed=3,
        epochs=24, planned_epochs=24, stopped_at_step=None, reason=None, val_accuracy=accuracy,
        val_loss=records[-1].val_loss, best_val_accuracy=accuracy + 0.002, best_epoch=22,
        test_accuracy=accuracy, test_loss=0.41, train_s=91.2, images_per_s=5200.0, parameters=1_204_810,
        trainable_parameters=1_204_810, macs=38_400_000, precision="bf16", threads=1,
    )  # fmt: skip
    write_run(run, recipe, records, correct, result, draw, classes, parts=("val", "test"))
    return run
