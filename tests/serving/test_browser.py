"""The pages in a real Chromium, over a real server: read, dropped on, pasted into, used without a mouse."""

import base64
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from colours import HOSTILE, encoded
from served import COMMAND, Served, environment

PAGES = {
    "home": "/",
    "best": "/?sort=score",
    "run": "/runs/colours",
    "classes": "/runs/invented/classes",
    "try": "/runs/colours/try",
    "report": "/runs/invented/report",
    "study": "/studies/augmentations",
    "study-report": "/studies/augmentations/report",
    "study-run": "/runs/augmentations~flip-s2",
}
PATIENCE_MS = 60_000
DROP = """
(content) => {
  const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], "picture.png", { type: "image/png" }));
  const event = new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true });
  document.querySelector(".drop").dispatchEvent(event);
}
"""
COPY = """
async (content) => {
  const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
  const picture = new Blob([bytes], { type: "image/png" });
  await navigator.clipboard.write([new ClipboardItem({ "image/png": picture })]);
}
"""


@pytest.fixture
def page(browser: Any, served: Served) -> Iterator[Any]:
    """A page on which nothing may be complained of."""
    opened = browser.new_page(base_url=served.address)
    opened.set_default_timeout(PATIENCE_MS)
    opened.said = []
    opened.on("console", lambda message: opened.said.append(message.text))
    opened.on("pageerror", lambda error: opened.said.append(str(error)))
    opened.on("dialog", lambda dialog: opened.said.append(dialog.message))
    opened.on("request", lambda request: _check_address(opened, request.url, served.address))
    yield opened
    opened.close()
    assert opened.said == []


def _check_address(page: Any, address: str, ours: str) -> None:
    if not address.startswith((f"{ours}/", "data:", "blob:")):
        page.said.append(f"asked for {address}")


@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_quiet_and_fits(page: Any, name: str):
    for width, scheme in ((360, "dark"), (1280, "light")):
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=scheme)
        answer = page.goto(PAGES[name])
        assert answer.status == 200
        assert "unsafe" not in answer.headers["content-security-policy"]
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        colours = [
            page.evaluate(f"getComputedStyle(document.body).{key}") for key in ("backgroundColor", "color")
        ]
        light, dark = (sum(map(int, colour[4:-1].split(", "))) for colour in colours)
        assert (light > dark) == (scheme == "light")
        assert page.locator("h1").count() == 1


def test_from_home_to_a_run_and_its_curves(page: Any):
    page.goto("/")
    assert "result.json is damaged" in page.inner_text("main")
    page.click("text=colours")
    page.wait_for_selector("#panels[data-epochs='6']")
    assert page.locator("path.curve").count() == 5
    assert "epoch 6: training" in page.inner_text("figure[data-kind=accuracy] output")
    assert page.get_attribute("figure[data-kind=loss] svg.plot", "aria-label").startswith(
        "Loss (nats) by epoch"
    )
    box = page.locator("figure[data-kind=accuracy] svg.plot").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.14, box["y"] + box["height"] / 2)
    assert "epoch 1: training" in page.inner_text("figure[data-kind=accuracy] output")
    page.click("text=Classes")
    assert page.inner_text("h2#confusion") == "Confusion"


def test_a_damaged_run_has_a_page_and_the_others_too(page: Any):
    assert page.goto("/runs/damaged").status == 200
    assert "result.json is damaged" in page.inner_text(".warning")
    assert page.goto("/runs/none").status == 404
    assert page.inner_text("h1") == "There is no run none"
    page.wait_for_load_state("networkidle")
    page.said = [text for text in page.said if "status of 40" not in text]  # the browser's own words


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_a_picture_that_is_dropped_or_pasted_is_classified(page: Any, way: str):
    page.goto("/runs/colours/try")
    page.wait_for_selector("[data-ready]")
    content = base64.b64encode(encoded("blue")).decode()
    if way == "paste":
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.evaluate(COPY, content)
        page.keyboard.press("Control+V")
    else:
        page.evaluate(DROP, content)
    page.wait_for_selector("[data-took]")
    assert page.inner_text("#first").startswith("blue, ")
    assert page.locator("#guesses li").count() == 2
    _until(page, "[...document.querySelectorAll('.looks img')].every(one => one.naturalWidth > 0)")


def test_an_older_picture_that_fails_hides_no_newer_answer(page: Any):
    page.goto("/runs/colours/try")
    page.wait_for_selector("[data-ready]")
    asked: list[Any] = []
    page.route("**/predict?*", lambda route: asked.append(route) if not asked else route.continue_())
    for colour in ("red", "blue"):
        file = {"name": "a.png", "mimeType": "image/png", "buffer": encoded(colour)}
        page.set_input_files("#picture", file)
        page.wait_for_timeout(100)
    page.wait_for_selector("[data-took]")
    asked[0].abort()
    page.wait_for_timeout(200)
    assert page.inner_text("#first").startswith("blue, ")
    assert page.inner_text("#said").startswith("Answered in ")
    page.said = [text for text in page.said if "ERR_FAILED" not in text]  # the browser's own words


def test_a_class_called_like_an_attack_is_text(page: Any):
    page.goto("/runs/colours/try")
    page.wait_for_selector("[data-ready]")
    assert HOSTILE in page.inner_text("#said")
    page.set_input_files("#picture", {"name": "a.png", "mimeType": "image/png", "buffer": encoded("red")})
    page.wait_for_selector("[data-took]")
    assert page.inner_text("#first").startswith(f"{HOSTILE}, ")
    assert page.locator("img[src=x]").count() == 0
    page.goto("/runs/invented/classes")
    assert HOSTILE in page.inner_text("main")
    assert page.locator("img[src=x]").count() == 0


def test_what_is_no_picture_is_told(page: Any):
    page.goto("/runs/colours/try")
    page.wait_for_selector("[data-ready]")
    page.set_input_files("#picture", {"name": "a.png", "mimeType": "image/png", "buffer": b"<svg/>"})
    page.wait_for_selector("#said.trouble")
    assert page.inner_text("#said") == "This is no PNG, JPEG or WebP file, whatever it is called"
    assert page.get_attribute("#said", "role") == "status"
    page.said = [text for text in page.said if "status of 415" not in text]


def test_an_answer_comes_within_300_ms(page: Any):
    """The best of several: this machine may be busy with other things."""
    page.goto("/runs/colours/try")
    page.wait_for_selector("[data-ready]")
    taken = []
    for _ in range(10):
        page.evaluate("document.getElementById('try').removeAttribute('data-took')")
        file = {"name": "a.png", "mimeType": "image/png", "buffer": encoded("red", side=512)}
        page.set_input_files("#picture", file)
        page.wait_for_selector("[data-took]")
        taken.append(int(page.get_attribute("#try", "data-took")))
    assert min(taken) < 300, taken


def test_the_keyboard_alone_is_enough(page: Any):
    # Playwright takes choosers over from the first listener on, and does not wait until the browser knows.
    page.on("filechooser", lambda _: None)
    page.goto("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    _tab_to(page, "colours")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_selector("#panels[data-epochs='6']")
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('plot')"):
            break
    page.keyboard.press("Home")
    assert "epoch 1:" in page.inner_text("figure[data-kind=accuracy] output")
    page.keyboard.press("ArrowRight")
    assert "epoch 2:" in page.inner_text("figure[data-kind=accuracy] output")
    page.goto("/runs/colours/try")
    page.wait_for_selector("[data-ready]")
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "picture":
            break
    assert page.evaluate("getComputedStyle(document.querySelector('.drop')).outlineStyle") == "solid"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files({"name": "a.png", "mimeType": "image/png", "buffer": encoded("blue")})
    page.wait_for_selector("[data-took]")
    assert page.get_attribute("#outcome", "aria-live") == "polite"


def _tab_to(page: Any, text: str) -> None:
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == text:
            return
    pytest.fail(f"{text} cannot be reached by Tab")


def test_curves_grow_while_another_process_trains(page: Any, served: Served, tmp_path: Path):
    settings = ["model.widths=[4,8,8,8]", "train.epochs=400", "train.batch_size=50"]
    options = [word for one in settings for word in ("--set", one)]
    command = [*COMMAND, "train", "quick", "--data", "glyphs:500", "--name", "growing", *options]
    places = environment() | {"TOYNET_RUNS": str(served.runs), "XDG_CACHE_HOME": str(tmp_path)}
    page.goto("/")
    training = subprocess.Popen(
        command, env=places, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        page.wait_for_selector("text=growing")  # the list has it without being loaded again
        page.click("text=growing")
        page.wait_for_selector("text=running")
        page.wait_for_selector("#panels[data-epochs]")
        first = _drawn(page)
        _until(page, f"Number(document.getElementById('panels').dataset.epochs) >= {first + 2}")
        _until(page, "document.querySelector('progress')?.value > 0")
        line = page.get_attribute("figure[data-kind=accuracy] path.curve.val", "d")
        assert line.count("L") + line.count("M") >= first + 2
    finally:
        training.terminate()
        said, _ = training.communicate(timeout=60)
    assert training.returncode == 143, said
    page.wait_for_selector("text=stopped")
    assert "--resume" in page.inner_text("#state")


def _until(page: Any, told: str) -> None:
    """Playwright's own waiting for an expression evaluates a text in the page, which the policy forbids."""
    for _ in range(PATIENCE_MS // 100):
        if page.evaluate(told):
            return
        page.wait_for_timeout(100)
    pytest.fail(f"it never came to {told}")


def _drawn(page: Any) -> int:
    return int(page.get_attribute("#panels", "data-epochs"))


def test_without_a_script_there_is_still_a_page(browser: Any, served: Served):
    page = browser.new_page(base_url=served.address, java_script_enabled=False)
    page.goto("/runs/colours")
    assert "of the test images are classified rightly" in page.inner_text("main")
    assert "drawn by a script" in page.inner_text("noscript")
    page.close()


def test_a_server_that_has_gone_is_told(page: Any):
    page.goto("/")
    page.context.set_offline(True)
    page.wait_for_selector("#offline:not([hidden])")
    page.context.set_offline(False)
    page.wait_for_selector("#offline", state="hidden")
    page.said = [text for text in page.said if "ERR_INTERNET_DISCONNECTED" not in text]
