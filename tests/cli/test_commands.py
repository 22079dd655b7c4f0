"""The command as a user types it, in real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

TOYNET = str(Path(sys.executable).with_name("toynet"))
TINY = [
    "--data",
    "glyphs:240",
    "--set",
    "model.widths=[4,8,8,8]",
    "--set",
    "train.epochs=2",
    "--set",
    "train.batch_size=40",
]


def toynet(*arguments: str, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [TOYNET, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, **environment},
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    done = toynet("train", "quick", *TINY, "--name", "first", TOYNET_RUNS=str(root))
    assert done.returncode == 0, done.stderr
    assert "test accuracy" in done.stdout
    assert str(root / "first") in done.stdout
    assert "\x1b" not in done.stderr + done.stdout  # plain lines where there is no terminal
    assert "epoch   2/2" in done.stderr
    return root


@pytest.mark.parametrize(
    "verb",
    [
        [],
        ["train"],
        ["evaluate"],
        ["diagnose"],
        ["bench"],
        ["study"],
        ["final"],
        ["compare"],
        ["data"],
        ["data", "fetch"],
        ["models"],
        ["models", "show"],
        ["recipes"],
        ["recipes", "show"],
    ],
)
def test_help_has_an_example_and_loads_no_torch(verb: list[str]):
    shown = toynet(*verb, "--help")
    assert shown.returncode == 0
    assert "toynet" in shown.stdout
    if verb:
        assert "Example:" in shown.stdout
    code = (
        f"import sys; sys.argv = ['toynet', *{[*verb, '--help']!r}]\n"
        "try:\n  from toynet.cli.app import main; main()\nexcept SystemExit: pass\n"
        "assert not {'torch', 'numpy', 'matplotlib'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_help_answers_within_half_a_second():
    def once() -> float:
        before = os.times()
        toynet("--help")
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(once() for _ in range(5)) < 0.5


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["trian"], 2, "there is no verb trian; did you mean train?"),
        (["train", "defualt"], 2, "there is no recipe defualt; did you mean default?"),
        (
            ["train", "default", "--set", "optim.lrr=0.1"],
            2,
            "recipe default: optim.lrr is not a setting; did you mean optim.lr?",
        ),
        (["train", "default", "--set", "optim.lr"], 2, "write it as key=value"),
        (["train", "default", "--set", "train.epochs=0"], 2, "train.epochs"),
        (["train", "default", "--data", "cifra10"], 2, "did you mean cifar10?"),
        (
            ["train", "quick", "--data", "glyphs:240", "--set", "model.widths=[1,2]"],
            2,
            "model.widths needs 4 numbers, got 2",
        ),
        (["train", "quick", "--seed", "x"], 2, "valid integer"),
        (["train", "quick", "--sede", "1"], 2, "--sede"),
        (["train", "quick", "--name", "../away"], 2, "use letters, digits"),
        (["train"], 2, "recipe"),
        (["train", "quick", "--threads", "0"], 2, "--threads"),
        (
            ["train", "quick", "--set", "train.kernels=compiled", "--set", "train.memory_format=contiguous"],
            2,
            "kernels=compiled needs memory_format=channels_last",
        ),
        (["bench", "defualt"], 2, "there is no recipe defualt; did you mean default?"),
        (["bench", "quick", "--set", "train.kernels=fast"], 2, "train.kernels"),
        (["bench", "quick", "--seconds", "-1"], 2, "seconds must be above 0"),
        (["bench", "quick", "--seconds", "long"], 2, "--seconds"),
        (["bench", "quick", "--data", "npz:/nowhere.npz"], 1, "/nowhere.npz"),
        (["evaluate", "nothing"], 2, "there is no run nothing"),
        (["diagnose", "nothing"], 2, "there is no run nothing"),
        (["train", "quick", "--data", "npz:/nowhere.npz"], 1, "/nowhere.npz"),
        (["train", "quick", "--data", "cifar10", "--data-root", "/nowhere"], 1, "/nowhere"),
        (["models", "show", "toynet14", "--set", "optim.lr=1"], 2, "only model.* settings"),
        (["models", "show", "toynet14", "--channels", "2"], 2, "1 channel or 3"),
        (["models", "show", "toynet14", "--diagram", "/nowhere/x.svg"], 1, "/nowhere does not exist"),
        (["data", "preview", "--data", "glyphs:240", "-o", "/nowhere/x.png"], 1, "/nowhere does not exist"),
        (["models", "show", "toynet13"], 2, "did you mean toynet"),
        (["data", "info", "folder:/nowhere"], 1, "/nowhere"),
        (["data", "copies", "glyphs:60", "--least", "2"], 2, "least: a likeness from 0.5 to 1"),
        (["data", "copies", "glyphs:60", "-o", "pairs.txt"], 2, "pairs.txt: a picture is saved as"),
        (["data", "copies", "glyphs:60", "-o", "nowhere/p.png"], 2, "there is no folder nowhere"),
        (["study", "quick"], 2, "quick is a recipe; try a setting on it by --try KEY=VALUE"),
        (["study", "quick", "--try", "optim.lr"], 2, "--try optim.lr: write it as key=value"),
        (["study", "quick", "--try", "optim.lrr=1", "--dry-run"], 2, "did you mean optim.lr?"),
        (["study", "quick", "--try", "optim.lr=1", "--try", "optim.lr=2"], 2, "one value of a setting"),
        (["study", "quickstart", "--try", "optim.lr=1"], 2, "there is no recipe quickstart"),
        (["data", "fetch", "mnist"], 2, "mnist"),
        (["study", "quikstart"], 2, "there is no study quikstart; did you mean quickstart?"),
        (["study", "quickstart", "--seeds", "many"], 2, "study quickstart: seeds"),
        (["study", "quickstart", "--seeds", "1"], 2, "study quickstart: seeds"),
        (["study", "quickstart", "--resume"], 2, "there is no study quickstart to go on with"),
        (["study", "quickstart", "--data", "cifra10", "--dry-run"], 2, "did you mean cifar10?"),
        (["final", "quickstart", "--variant", "shift"], 2, "there is no study quickstart"),
        (["final", "quickstart"], 2, "--variant"),
        (["compare", "one", "two"], 2, "there is no run one"),
        (["compare", "one", "two", "--unequal", "epoch"], 2, "did you mean epochs?"),
    ],
)
def test_bad_requests_get_one_line(arguments: list[str], code: int, message: str, tmp_path: Path):
    done = toynet(*arguments, TOYNET_RUNS=str(tmp_path / "runs"), TOYNET_STUDIES=str(tmp_path / "studies"))
    assert done.returncode == code, done.stderr
    lines = done.stderr.strip().splitlines()
    assert lines[-1].startswith("error: ")
    assert message in lines[-1]
    assert sum(line.startswith("error") for line in lines) == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


def test_the_version_is_told():
    assert toynet("--version").stdout.startswith("toynet 0.")


def test_an_unfinished_command_line_gets_the_help_as_it_is():
    done = toynet()
    assert done.returncode == 2
    assert "Commands:\n" in done.stderr


def test_a_full_device_is_said_and_does_not_end_a_training(tmp_path: Path):
    with Path("/dev/full").open("w") as full:
        listed = subprocess.run([TOYNET, "recipes", "list"], stdout=full, stderr=subprocess.PIPE, text=True)
        assert (listed.returncode, listed.stderr) == (1, "error: output: No space left on device\n")
        assert subprocess.run([TOYNET, "evaluate", "nope"], stderr=full, stdout=full).returncode == 2
        command = [TOYNET, "train", "quick", *TINY, "--set", "train.epochs=1", "--name", "quiet"]
        environment = {**os.environ, "TOYNET_RUNS": str(tmp_path)}
        assert subprocess.run(command, stderr=full, stdout=subprocess.PIPE, env=environment).returncode == 0
    assert (tmp_path / "quiet" / "result.json").exists()


BENCH = ["bench", "quick", *TINY, "--seconds", "0.01", "--no-remember"]


def test_bench_prints_a_table():
    done = toynet(*BENCH)
    assert done.returncode == 0, done.stderr
    for told in ("matrix product 1024", "the limit", "in all", "optimiser", "training step", "not kept for"):
        assert told in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 80


def test_bench_prints_json():
    done = toynet(*BENCH, "--threads", "1", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["chosen"]["setup"]["threads"] == 1
    assert found["changes"]["train.batch_size"] == 40
    assert found["limits"]["bf16_gflops"] > 0


def test_debug_shows_the_traceback():
    assert "Traceback" in toynet("train", "defualt", "--debug").stderr
    assert "there is no verb trian" in toynet("--debug", "trian").stderr


def test_a_taken_name_is_refused(runs: Path):
    done = toynet("train", "quick", *TINY, "--name", "first", TOYNET_RUNS=str(runs))
    assert done.returncode == 2
    assert "run first exists and is finished" in done.stderr


def test_a_read_only_runs_folder_is_named(tmp_path: Path):
    done = toynet("train", "quick", *TINY, TOYNET_RUNS="/proc/runs")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: cannot make /proc/runs/quick")


def test_evaluate_diagnose_and_json(runs: Path):
    shown = toynet("evaluate", "first", TOYNET_RUNS=str(runs))
    assert "accuracy" in shown.stdout
    assert "precision" in shown.stdout
    told = json.loads(toynet("evaluate", "first", "--json", TOYNET_RUNS=str(runs)).stdout)
    assert told["split"] == "val"
    assert len(told["per_class"]) == 10
    test = toynet("evaluate", "first", "--split", "test", TOYNET_RUNS=str(runs))
    assert "have now been read" in test.stdout
    read = toynet("diagnose", "first", TOYNET_RUNS=str(runs))
    assert read.returncode == 0
    assert read.stdout.startswith("1. ")
    assert json.loads(toynet("diagnose", "first", "--json", TOYNET_RUNS=str(runs)).stdout)[0]["code"]


def test_in_a_terminal_the_recipes_hang_beside_their_names():
    terminal, side = os.openpty()
    try:
        narrow = {**os.environ, "COLUMNS": "90"}
        done = subprocess.run([TOYNET, "recipes", "list"], stdout=side, env=narrow, timeout=60, check=False)
        lines = os.read(terminal, 1 << 16).decode().splitlines()
    finally:
        os.close(terminal)
        os.close(side)
    assert done.returncode == 0
    assert max(map(len, lines)) <= 90
    hanging = [len(line) - len(line.lstrip()) for line in lines if line.startswith(" ")]
    assert set(hanging) == {lines[0].index(lines[0].split(maxsplit=1)[1])}


def test_lists_and_shows(tmp_path: Path):
    assert "report/toynet14_with_dropout" in toynet("recipes", "list").stdout
    assert "extends" in toynet("recipes", "show", "report/toynet20_init").stdout
    assert "[augment]" in toynet("recipes", "show", "report/toynet20_init", "--resolved").stdout
    models = toynet("models", "list").stdout
    assert "6,383,050" in models
    diagram = tmp_path / "net.svg"
    shown = toynet(
        "models", "show", "toynet14", "--set", "model.widths=[16,32,64,128]", "--diagram", str(diagram)
    )
    assert "parameters 402,298, of which trainable 400,922" in shown.stdout
    assert diagram.read_text().lstrip().startswith("<")


def test_a_preview_sets_no_images_apart(tmp_path: Path):
    labels = np.array([0, 0, 1, 1])
    pixels = np.zeros((4, 16, 16, 3), np.uint8)
    np.savez(tmp_path / "few.npz", x_train=pixels, y_train=labels, x_test=pixels, y_test=labels)
    done = toynet("data", "preview", "--data", f"npz:{tmp_path}/few.npz", "-o", str(tmp_path / "few.png"))
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "few.png").exists()


def test_data_info_and_preview(tmp_path: Path):
    info = toynet("data", "info", "glyphs:240")
    assert "train 180" in info.stdout
    assert "balance: every class has " in info.stdout
    images, labels = np.zeros((20, 4, 4, 3), np.uint8), np.arange(20) % 2
    images += np.arange(20, dtype=np.uint8)[:, None, None, None]
    np.savez(tmp_path / "4.npz", x_train=images, y_train=labels, x_test=images + 50, y_test=labels)
    assert "4x4, channels 3" in toynet("data", "info", f"npz:{tmp_path / '4.npz'}").stdout
    full = toynet("data", "info", "glyphs:240", "--set", "data.protocol=full")
    assert "train 200   validation 0 (protocol full)" in full.stdout
    assert "duplicates: none of 40 test images is in train too" in info.stdout
    picture = tmp_path / "p.png"
    done = toynet("data", "preview", "--data", "glyphs:240", "-o", str(picture))
    assert done.returncode == 0, done.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_data_info_names_pictures_that_are_trained_on_and_tested_on(tmp_path: Path):
    for number, place in enumerate(
        ("train/cat/1", "train/cat/2", "train/dog/1", "train/dog/2", "test/cat/1")
    ):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (50 * number, 9, 9)).save(tmp_path / f"{place}.png")
    (tmp_path / "test" / "dog").mkdir()
    Image.open(tmp_path / "train" / "cat" / "2.png").save(tmp_path / "test" / "dog" / "same.bmp")
    info = toynet("data", "info", f"folder:{tmp_path}", "--protocol", "full", "--set", "data.size=16")
    assert "16x16" in info.stdout
    assert "caution: 1 of 2 test images are in train too, pixel for pixel (1 with another" in info.stdout
    assert f"  {tmp_path}/test/dog/same.bmp = {tmp_path}/train/cat/2.png\n" in info.stdout
    assert "images were decoded before" not in info.stderr
    again = toynet("data", "info", f"folder:{tmp_path}", "--protocol", "full", "--set", "data.size=16")
    assert again.stdout == info.stdout
    assert "images were decoded before" in again.stderr


def test_data_copies_lists_pictures_that_have_their_like_in_train(tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 256, (6, 5, 5, 3), np.uint8)
    blots = [Image.fromarray(pixels).resize((40, 40), Image.Resampling.BICUBIC) for pixels in noise]
    places = ("train/cat/1", "train/cat/2", "train/dog/1", "train/dog/2", "test/cat/1")
    for place, picture in zip(places, blots, strict=False):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        picture.save(tmp_path / f"{place}.png")
    (tmp_path / "test" / "dog").mkdir()
    ImageOps.mirror(blots[1]).crop((2, 3, 39, 40)).save(tmp_path / "test" / "dog" / "again.jpg")
    sheet = tmp_path / "sheet.png"
    done = toynet("data", "copies", f"folder:{tmp_path}", "-o", str(sheet))
    heading, line, wrote = done.stdout.splitlines()
    assert heading.endswith(
        "images with their like in train (likeness 0.85 or more): test 1, val 0; with another class 1"
    )
    assert line.endswith(f"{tmp_path}/test/dog/again.jpg = {tmp_path}/train/cat/2.png  (dog, cat)")
    assert wrote == f"wrote {sheet}"
    assert sheet.read_bytes().startswith(b"\x89PNG")
    none = toynet("data", "copies", "glyphs:60", "--least", "1", "-o", str(tmp_path / "none.png"))
    assert "(likeness 1 or more): test 0, val 0;" in none.stdout
    assert not (tmp_path / "none.png").exists()


def test_ctrl_c_saves_and_exits_130_and_resume_finishes(tmp_path: Path):
    environment = {**os.environ, "TOYNET_RUNS": str(tmp_path)}
    command = [TOYNET, "train", "quick", *TINY, "--set", "train.epochs=200", "--name", "long"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    while not (tmp_path / "long" / "checkpoints" / "epoch-0001").exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "everything is saved, go on with --resume" in errors
    stopped = toynet("train", "quick", "--name", "long", TOYNET_RUNS=str(tmp_path))
    assert stopped.returncode == 2
    assert "--resume" in stopped.stderr
