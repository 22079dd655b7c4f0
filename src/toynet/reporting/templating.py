"""Templates to text: HTML that escapes everything, and Markdown that does."""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import tomli_w
from jinja2 import BaseLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from toynet.core.files import write_atomic
from toynet.core.wording import setting
from toynet.reporting import words

TEMPLATES = PackageLoader("toynet.reporting")
_MARKS = re.compile(r"([\\`*_{}\[\]<>#|~&])")


@dataclass(frozen=True)
class Page:
    """A report, ready to be written."""

    html: str
    markdown: str

    def write(self, path: Path) -> Path:
        """The HTML at `path` and the Markdown beside it; returns `path`."""
        write_atomic(path, self.html)
        write_atomic(path.with_suffix(".md"), self.markdown)
        return path


def render(kind: str, context: Mapping[str, Any]) -> Page:
    """kind: `study` or `run`."""
    return Page(
        html=_html().get_template(f"{kind}.html.jinja").render(context),
        markdown=_tidy(_markdown().get_template(f"{kind}.md.jinja").render(context)),
    )


@cache
def style() -> str:
    """The style sheet of all pages."""
    return (Path(__file__).parent / "templates" / "page.css").read_text()


@cache
def policy() -> str:
    """What a report may do in a browser: use the one style that it holds, and show images that it holds."""
    digest = base64.b64encode(hashlib.sha256(style().encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:"


@cache
def _html() -> Environment:
    found = environment(TEMPLATES, autoescape=True)
    found.globals |= {"style": Markup(style()), "policy": policy()}
    return found


@cache
def _markdown() -> Environment:
    found = environment(TEMPLATES, autoescape=False, finalize=_escaped)
    found.filters |= {"block": _block, "safe": Markup}
    return found


def environment(loader: BaseLoader, **options: Any) -> Environment:
    """Templates with our filters; an unknown name in one is an error."""
    found = Environment(
        loader=loader,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )
    found.filters |= {
        "arrow": lambda text: str(text).replace(" -> ", " → "),
        "bounds": words.bounds,
        "duration": words.duration,
        "fixed": lambda value: "–" if value is None else f"{value:.2f}",
        "magnitude": words.magnitude,
        "mix": lambda share: f"mix-{5 * round(min(share, 60) / 5)}",
        "number": words.number,
        "percent": words.percent,
        "setting": setting,
        "signed": words.signed,
        "toml": toml_value,
    }
    return found


def toml_value(value: Any) -> str:
    """One value as TOML writes it."""
    return tomli_w.dumps({"value": value}).removeprefix("value = ").strip()


def _escaped(value: Any) -> Any:
    """A value on one line of Markdown, with every mark that would be read as markup made plain."""
    if isinstance(value, Markup):
        return value
    return _MARKS.sub(r"\\\1", re.sub(r"[\r\n\t ]+", " ", str(value)))


def _block(text: str) -> Markup:
    """A block of code, fenced by more back-ticks than any line of it has."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markup(f"{fence}\n{text.rstrip()}\n{fence}")


def _tidy(text: str) -> str:
    """Outside code: one empty line before a heading, no two in a row, no spaces at the end of a line."""
    parts = re.split(r"(^`{3,}\n.*?^`{3,}$)", text, flags=re.DOTALL | re.MULTILINE)
    for place in range(0, len(parts), 2):
        part = re.sub(r"[ \t]+$", "", parts[place], flags=re.MULTILINE)
        parts[place] = re.sub(r"\n{3,}", "\n\n", re.sub(r"\n(?=## )", "\n\n", part))
    return "".join(parts).strip() + "\n"
