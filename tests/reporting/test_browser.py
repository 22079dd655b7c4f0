"""The pages in a real Chromium: nothing loaded, nothing complained of, nothing sticks out."""

from pathlib import Path
from typing import Any

import invented
import pytest
from invented import EFFECTS, HOSTILE

from toynet.reporting.run_page import run_page
from toynet.reporting.study_page import study_page


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("pages")
    factors = {"model.dropout": [0.0, 0.4], "augment.flip": ["none", "random"]}
    made = {
        "hostile": study_page(invented.hostile(place)),
        "looks": study_page(invented.study(place, invented.spec("looks", seeds="auto"), EFFECTS, images=500)),
        "factors": study_page(
            invented.study(place, invented.spec("factors", variant={}, factors=factors), {}, images=500)
        ),
        "run": run_page(invented.single_run(place, (HOSTILE, "x" * 70, *invented.CLASSES[2:]))),
    }
    return {name: page.write(place / f"{name}.html") for name, page in made.items()}


@pytest.mark.parametrize("name", ["hostile", "looks", "factors", "run"])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_is_quiet_and_fits(browser: Any, pages: dict[str, Path], name: str, width: int, scheme: Any):
    said: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.on("request", lambda request: said.append(request.url) if request.url[:4] == "http" else None)
    page.goto(pages[name].as_uri())
    page.eval_on_selector_all("details", "all => all.forEach(one => { one.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    colours = [
        page.evaluate(f"getComputedStyle(document.body).{key}") for key in ("backgroundColor", "color")
    ]
    light, dark = (sum(map(int, colour[4:-1].split(", "))) for colour in colours)
    assert (light > dark) == (scheme == "light")
    clipped = page.eval_on_selector_all(
        "svg.plot", "all => all.filter(one => one.getBoundingClientRect().height < 100).length"
    )
    assert clipped == 0
    page.close()
    assert said == []


def test_hostile_names_are_read_as_text(browser: Any, pages: dict[str, Path]):
    page = browser.new_page()
    page.goto(pages["hostile"].as_uri())
    assert HOSTILE in page.inner_text("h1")
    assert HOSTILE in page.inner_text(".forest .name")
    assert page.title().startswith(f"Does {HOSTILE} help?")
    assert page.locator("img").count() == 0
    page.close()


def test_what_is_folded_is_printed(browser: Any, pages: dict[str, Path]):
    page = browser.new_page()
    page.goto(pages["factors"].as_uri())
    if not page.evaluate("CSS.supports('selector(details::details-content)')"):
        pytest.skip("this Chromium cannot unfold by style")
    seen = "all => all.filter(one => one.checkVisibility()).length"
    folded = page.locator("details:not([open]) > :not(summary)").count()
    assert folded
    for medium, count in (("screen", 0), ("print", folded)):
        page.emulate_media(media=medium)
        assert page.eval_on_selector_all("details:not([open]) > :not(summary)", seen) == count
    page.close()
