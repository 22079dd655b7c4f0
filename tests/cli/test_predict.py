"""`toynet predict` as a user runs it: files, folders, standard input, and files that are no images."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import toynet
from toynet.core.errors import UsageError
from toynet.data.glyphs import glyphs

TINY = {"model.widths": [4, 8, 8, 8], "train.epochs": 1, "schedule.warmup_epochs": 0}
COMMAND = [sys.executable, "-c", "from toynet.cli.app import main; main()", "predict"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    return toynet.train("quick", data="glyphs:400", name="one", overrides=TINY, root=root).path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "inner").mkdir(parents=True)
    for number, image in enumerate(glyphs(400).test.images[:3]):
        Image.fromarray(image).save(folder / ("inner" if number == 2 else "") / f"{number}.png")
    return folder


def predict(*arguments: object, content: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *map(str, arguments)], input=content, capture_output=True, timeout=120)


def test_a_batch_goes_on_past_what_is_no_image(run: Path, pictures: Path) -> None:
    (pictures / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing more")
    (pictures / "page.png").write_bytes(b"<svg onload=alert(1)></svg>")
    (pictures / "notes.txt").write_text("not asked about")
    done = predict(run, pictures, "--json", "--top", 2)
    assert done.returncode == 1
    lines = {Path(line["source"]).name: line for line in map(json.loads, done.stdout.splitlines())}
    assert lines.keys() == {"0.png", "1.png", "2.png", "broken.jpg", "page.png"}
    for name, line in lines.items():
        broken = name in ("broken.jpg", "page.png")
        assert (line["error"] is not None) == broken
        assert len(line["top"]) == (0 if broken else 2)
    assert b"1 other file passed over" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_name_that_is_no_text_stops_nobody(run: Path, pictures: Path) -> None:
    os.rename(os.fsencode(pictures / "0.png"), os.fsencode(pictures) + b"/a\xff.png")
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run([*COMMAND, str(run), str(pictures)], capture_output=True, timeout=120, env=strict)
    assert done.returncode == 0, done.stderr
    assert [line.count(b"%") for line in done.stdout.splitlines()] == [3, 3, 3]
    assert b"a\\udcff.png" in done.stdout


def test_answers_stand_beneath_each_other(run: Path, pictures: Path) -> None:
    longest = pictures / "a name that is longer than the others.png"
    (pictures / "0.png").rename(longest)
    first, second = predict(run, longest, pictures / "1.png").stdout.decode().splitlines()
    begin = len(str(longest)) + 2
    assert first[:begin] == f"{longest}  "
    assert second[:begin].rstrip() == str(pictures / "1.png")
    assert " " not in (first[begin], second[begin])


def test_answers_are_those_of_the_api(run: Path, pictures: Path, tmp_path: Path) -> None:
    done = predict(run, pictures / "0.png", "--explain", tmp_path / "heat")
    assert done.returncode == 0
    best = toynet.load(run).predict(pictures / "0.png").top(1)[0]
    assert f"  {best.label} {100 * best.probability:.1f} %" in done.stdout.decode()
    with Image.open(tmp_path / "heat" / "0.png") as sheet:
        assert sheet.size == (2 * 256 + 8, 256)


def test_an_image_on_standard_input(run: Path, pictures: Path) -> None:
    content = (pictures / "1.png").read_bytes()
    done = predict(run, "-", "--json", "--top", 10, content=content)
    line = json.loads(done.stdout)
    assert line["source"] == "-"
    assert sum(one["probability"] for one in line["top"]) == pytest.approx(1, abs=1e-5)
    empty = predict(run, "-", content=b"")
    assert empty.returncode == 1
    assert b"-: " in empty.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["missing.png"], "there is no file or folder missing.png"),
        (["."], "holds no image files"),
        ([], "Missing argument 'IMAGE...'"),
    ],
)
def test_wrong_requests_are_one_line(run: Path, tmp_path: Path, monkeypatch, arguments, told: str) -> None:
    monkeypatch.chdir(tmp_path)
    done = predict(run, *arguments)
    assert done.returncode == 2
    assert told in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


def test_pictures_of_one_name_keep_their_own_explanations(run: Path, tmp_path: Path) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
        Image.fromarray(np.full((32, 32, 3), 255 * (folder == "b"), np.uint8)).save(
            tmp_path / folder / "same.png"
        )
    answers = list(toynet.predict(run, [tmp_path / "a", tmp_path / "b"], explain=tmp_path / "heat"))
    assert [answer.explanation.name for answer in answers] == ["same.png", "same-2.png"]
    black, white = (Image.open(answer.explanation).getpixel((5, 5)) for answer in answers)
    assert (black, white) == ((0, 0, 0), (255, 255, 255))


def test_explanations_take_no_pictures_place_and_are_not_classified_themselves(
    run: Path, pictures: Path
) -> None:
    before = {path: path.read_bytes() for path in pictures.rglob("*.png")}
    done = predict(run, pictures, "--explain", pictures)
    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in before} == before
    assert sorted(path.name for path in set(pictures.rglob("*.png")) - before.keys()) == [
        "0-2.png",
        "1-2.png",
        "2.png",
    ]
    for path in set(pictures.rglob("*.png")) - before.keys():
        path.unlink()
    assert len(list(toynet.predict(run, pictures / "inner", explain=pictures))) == 1, (
        "a folder above is none inside"
    )
    (pictures / "2.png").unlink()
    (pictures / "other.png").write_bytes(before[pictures / "1.png"])
    (pictures / "other.jpg").write_bytes(before[pictures / "0.png"])
    (answer,) = toynet.predict(run, pictures / "other.jpg", explain=pictures)
    assert answer.explanation.name == "other-2.png", (
        "nor does it take that of a picture that was not asked about"
    )
    for name in ("other.png", "other.jpg", "other-2.png"):
        (pictures / name).unlink()
    for _ in range(2):
        answers = list(toynet.predict(run, pictures, explain=pictures / "heat"))
        assert len(answers) == 3
        assert {answer.explanation.parent for answer in answers} == {pictures / "heat"}


def test_one_source_need_not_be_a_list(run: Path, pictures: Path) -> None:
    for source in (pictures / "0.png", str(pictures / "0.png")):
        (answer,) = toynet.predict(run, source)
        assert answer.source == str(source)


def test_a_checkpoint_is_chosen_of_a_run_only(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "m.safetensors"
    toynet.export(run, "torch", file)
    with pytest.raises(UsageError, match=r"checkpoint best: .*m\.safetensors holds one set of weights"):
        toynet.load(file, which="best")
    for wrong in (
        lambda: toynet.load(file, which="bset"),
        lambda: toynet.load(run, which="bset"),
        lambda: toynet.export(run, "torch", tmp_path / "n.safetensors", which="bset"),
    ):
        with pytest.raises(UsageError, match="checkpoint 'bset'; did you mean best"):
            wrong()


def test_a_stream_of_many_is_answered_in_order(run: Path, tmp_path: Path) -> None:
    images = glyphs(4000).train.images[:600]
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{number:04d}.png")
    answers = list(toynet.predict(run, [tmp_path], top=1))
    expected = toynet.load(run).probabilities(images)
    assert [Path(answer.source).stem for answer in answers] == [f"{number:04d}" for number in range(600)]
    assert [answer.top[0].probability for answer in answers] == pytest.approx(
        expected.max(1).tolist(), abs=1e-5
    )


def test_a_damaged_picture_in_memory_is_named(run: Path) -> None:
    good = io.BytesIO()
    Image.new("RGB", (64, 64)).save(good, "png")
    with pytest.raises(toynet.ToyNetError):
        toynet.load(run).predict(io.BytesIO(good.getvalue()[:60]))
