"""A real run over pictures of two colours, made-up ones beside it, and a real server over both."""

import subprocess
from collections.abc import Iterator

import httpx
import invented
import pytest
from colours import HOSTILE, picture
from served import COMMAND, Served, environment

import toynet
from toynet.serving.listing import Listing

TINY = {
    "model.widths": [4, 8, 8, 8],
    "train.epochs": 6,
    "train.batch_size": 16,
    "schedule.warmup_epochs": 0,
    "augment.rotate_deg": 0.0,
}


@pytest.fixture(scope="session")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Listing:
    """`colours` is trained; `invented` has no model, `damaged` no result that can be read."""
    place = tmp_path_factory.mktemp("served")
    for label, shade in ((HOSTILE, "red"), ("blue", "blue")):
        folder = place / "pictures" / label
        folder.mkdir(parents=True)
        for number in range(60):
            picture(shade, seed=number).save(folder / f"{number}.png")
    runs, studies = place / "runs", place / "studies"
    data = f"folder:{place / 'pictures'}"
    run = toynet.train("quick", data=data, name="colours", overrides=TINY, root=runs)
    assert run.result is not None
    assert run.result.test_accuracy == 1
    invented.single_run(runs, (HOSTILE, *invented.CLASSES[1:]), name="invented")
    damaged = invented.single_run(runs, name="damaged")
    (damaged.path / "result.json").write_text("{")
    invented.study(studies, invented.spec(), invented.EFFECTS, images=500)
    return Listing(runs, studies)


@pytest.fixture(scope="session")
def served(listing: Listing) -> Iterator[Served]:
    options = [
        "serve",
        "--port",
        "0",
        "--runs",
        str(listing.runs_root),
        "--studies",
        str(listing.studies_root),
    ]
    process = subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    yield Served(address, process, listing.runs_root, listing.studies_root)
    process.terminate()
    assert process.wait(20) == 143
    process.stdout.close()


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.address, timeout=30) as opened:
        yield opened
