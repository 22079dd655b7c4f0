"""Goal 16: 200 payloads as names of classes, arms, studies and files on the pages, in a real Chromium."""

import itertools
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

COUNT = 200
SHORT = 20
_TESTS = Path(__file__).parents[2] / "tests" / "reporting"
_ON_ONE_PAGE = 20
_CODE = "window.hit=1;alert(1)"
_WRAPPERS = (
    "<script>{code}</script>",
    "</script><script>{code}</script>",
    "</title><script>{code}</script>",
    "</style><script>{code}</script>",
    "</textarea><img src=x onerror='{code}'>",
    "<img src=x onerror={code}>",
    "<svg onload={code}>",
    "<svg><script>{code}</script></svg>",
    '"><img src=x onerror={code}>',
    "'><img src=x onerror={code}>",
    '" onmouseover="{code}" autofocus onfocus="{code}',
    "' onfocus='{code}' autofocus='",
    "`;{code};`",
    "';{code};//",
    '";{code};//',
    "{{{{{code}}}}}",
    "{{% {code} %}}",
    "${{{code}}}",
    "[x](javascript:{code})",
    "![x](x onerror={code})",
    "<a href='javascript:{code}'>x</a>",
    "<iframe srcdoc='<script>{code}</script>'>",
    "<iframe src='javascript:{code}'>",
    "<object data='javascript:{code}'>",
    "<body onload={code}>",
    "<details open ontoggle={code}>",
    "<video><source onerror={code}>",
    "<math><mtext></mtext><script>{code}</script></math>",
    "<link rel=stylesheet href=http://127.0.0.1:9/x.css>",
    "<img src=http://127.0.0.1:9/x.png>",
    "<base href=http://127.0.0.1:9/>",
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'>",
    "<style>@import 'http://127.0.0.1:9/x.css';</style>",
    "<style>*{{background:url(http://127.0.0.1:9/x)}}</style>",
    "--><script>{code}</script>",
    "]]><script>{code}</script>",
    "<!--<script>{code}</script>",
    "<scr<script>ipt>{code}</scr</script>ipt>",
    "\\u003cscript\\u003e{code}\\u003c/script\\u003e",
    "&lt;script&gt;{code}&lt;/script&gt;",
)
_DISGUISES = (
    lambda text: text,
    lambda text: text.upper().replace("WINDOW.HIT", "window.hit").replace("ALERT", "alert"),
    lambda text: text.replace("<", "<\t"),
    lambda text: text.replace(" ", "/"),
    lambda text: f"plain {text} plain",
)


def payloads(count: int) -> list[str]:
    pairs = itertools.product(_DISGUISES, _WRAPPERS)
    return [disguise(wrapper.format(code=_CODE)) for disguise, wrapper in pairs][:count]


def prove(count: int) -> dict[str, Any]:
    """Pages that carry `count` payloads wherever a name is; what Chromium did with them."""
    if str(_TESTS) not in sys.path:
        sys.path.append(str(_TESTS))
    from playwright.sync_api import sync_playwright
    from specimens import QUIET

    chosen = payloads(count)
    said: list[str] = []
    pages = shown = 0
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=QUIET.split())
        for number, start in enumerate(range(0, len(chosen), _ON_ONE_PAGE)):
            group = chosen[start : start + _ON_ONE_PAGE]
            for path in _pages(Path(place) / str(number), group):
                page = browser.new_page()
                page.on("dialog", lambda dialog: (said.append("dialog"), dialog.dismiss()))
                page.on("request", lambda one: _is_local(one.url) or said.append(one.url))
                page.goto(path.as_uri())
                page.eval_on_selector_all("details", "all => all.forEach(one => { one.open = true })")
                page.mouse.move(300, 300)
                if page.evaluate("window.hit"):
                    said.append(f"{path.name}: executed")
                shown += sum(_shown(page.content(), text) for text in group)
                pages += 1
                page.close()
        browser.close()
    return {
        "payloads": len(chosen),
        "pages": pages,
        "payloads_found_as_text": shown,
        "executions_and_requests": len(said),
        "said": said[:10],
        "passed": not said and shown >= len(chosen),
    }


def _pages(place: Path, names: list[str]) -> list[Path]:
    """A run's page, with the names as classes and as its own, and a study's with them everywhere."""
    import invented

    from toynet.reporting.run_page import run_page
    from toynet.reporting.study_page import study_page

    place.mkdir()
    classes = tuple(dict.fromkeys(names))
    run = run_page(invented.single_run(place, classes))
    variants = {f"v{k}": {"optim.lr": 0.001 * (k + 1)} for k in range(4)}
    renamed = {f"v{k}": name for k, name in enumerate(names[:4])}
    account = invented.study(
        place,
        invented.spec("hostile", question=" ".join(names)[:900], variant=variants),
        dict.fromkeys(renamed.values(), 0.1),
        classes=classes,
        names=renamed,
    )
    study = study_page(replace(account, name=names[-1]))
    return [page.write(place / f"{kind}.html") for kind, page in (("run", run), ("study", study))]


def _is_local(address: str) -> bool:
    return address.startswith(("file:", "data:"))


def _shown(html: str, text: str) -> bool:
    """Whether the page has the payload, as text."""
    plain = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return plain in html or plain.replace('"', "&quot;").replace("'", "&#39;") in html
