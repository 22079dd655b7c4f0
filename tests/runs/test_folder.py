"""A run's folder while it is being made, with a process that is really killed."""

import multiprocessing
import os
import signal
from pathlib import Path

from toynet.core.locks import folder_lock
from toynet.runs import folder
from toynet.runs.folder import DataCard, RunFolder
from toynet.runs.recipe import Recipe

RECIPE = Recipe.load("quick")
CARD = DataCard(
    name="glyphs",
    classes=("a", "b"),
    image_shape=(8, 8, 1),
    mean=(128.0,),
    std=(64.0,),
    train_images=4,
    val_images=2,
    test_images=2,
    train_digest="a",
    test_digest="b",
    split_digest="c",
)


def _die_in_the_making(path: Path) -> None:
    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    folder.write_json = die
    with RunFolder.create(path, RECIPE, CARD, {"threads": 1}):
        pass


def test_what_a_killed_process_left_is_removed_by_the_next_run(tmp_path: Path):
    child = multiprocessing.get_context("spawn").Process(target=_die_in_the_making, args=(tmp_path / "run",))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".building-run-")
    being_made, not_locked_yet = tmp_path / ".building-other-1", tmp_path / ".building-third-2"
    being_made.mkdir()
    not_locked_yet.mkdir()
    with folder_lock(being_made), RunFolder.create(tmp_path / "run", RECIPE, CARD, {"threads": 1}):
        assert {path.name for path in tmp_path.iterdir()} == {"run", being_made.name, not_locked_yet.name}
