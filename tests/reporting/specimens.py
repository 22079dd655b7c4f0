"""One page of every kind, to be looked at: python tests/reporting/specimens.py FOLDER [KIND ...]

Writes FOLDER/KIND.html, and pictures of it at two widths, light and dark, where Chromium is installed.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import invented
from invented import EFFECTS, spec, study

from toynet.reporting.run_page import run_page
from toynet.reporting.study_page import study_page
from toynet.reporting.templating import Page

FACTORS = {
    "model.dropout": [0.0, 0.4],
    "augment.flip": ["none", "random"],
    "augment.shift": [0.0, 0.2],
    "loss.label_smoothing": [0.0, 0.1],
}
GENERATED = {"loss.label_smoothing": ["model.dropout", "augment.flip", "augment.shift"]}
TWENTY = {f"smoothing_{k:02d}": {"loss.label_smoothing": 0.01 * k} for k in range(1, 21)}
QUIET = (
    "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update "
    "--disable-sync --no-first-run"
)
Maker = Callable[[Path], Page]

KINDS: dict[str, Maker] = {
    "plain": lambda place: study_page(study(place, spec(), EFFECTS)),
    "auto": lambda place: study_page(
        study(
            place,
            spec("auto", seeds="auto"),
            EFFECTS,
            seeds=12,
            stopped={"shift": 5, "flip": 5},
            diverged=[("dropout", 3)],
        )
    ),
    "open": lambda place: study_page(study(place, spec("open", seeds="open-ended"), EFFECTS, seeds=7)),
    "few": lambda place: study_page(study(place, spec("few", seeds=3), EFFECTS, seeds=3, folders=False)),
    "one": lambda place: study_page(
        study(place, spec("one", question="", variant={"dropout": {"model.dropout": 0.4}}), {"dropout": 0.1})
    ),
    "hostile": lambda place: study_page(invented.hostile(place)),
    "chain": lambda place: study_page(
        study(place, spec("chain", chain=True, unequal=["macs"]), EFFECTS, larger=["dropout"])
    ),
    "factors": lambda place: study_page(
        study(
            place,
            spec("factors", variant={}, factors=FACTORS, generated=GENERATED),
            {"model.dropout": 0.8, "augment.shift": 1.5, "augment.shift x model.dropout": 0.6},
        )
    ),
    "withheld": lambda place: study_page(
        study(
            place,
            spec("withheld"),
            EFFECTS,
            larger=["flip"],
            diverged=[("dropout", seed) for seed in range(4)],
        )
    ),
    "twenty": lambda place: study_page(study(place, spec("twenty", variant=TWENTY), {"smoothing_10": 1.0})),
    "run": lambda place: run_page(invented.single_run(place)),
}


def photograph(pages: list[Path], chromium: str) -> None:
    """Whole pages as PNG, beside the HTML."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=QUIET.split())
        for path in pages:
            for width, scheme in ((1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")):
                page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
                page.goto(path.resolve().as_uri())
                page.screenshot(path=path.with_name(f"{path.stem}-{width}-{scheme}.png"), full_page=True)
                page.close()
        browser.close()


def main(folder: Path, kinds: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        pages = [KINDS[kind](Path(place)).write(folder / f"{kind}.html") for kind in kinds or KINDS]
    chromium = shutil.which("chromium")
    if chromium:
        photograph(pages, chromium)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
