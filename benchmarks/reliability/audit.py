"""A pytest plugin that watches, by Python's audit hook, what the code under test does to the machine.

Forbidden are: writing, renaming, linking or removing anything outside the tests' own folder, unpickling by
Python's own unpickler (every import that a pickle asks for is told to the hook), and starting programs.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[2]
_CALLS = "rename", "link", "symlink", "remove", "mkdir", "rmdir", "chmod", "truncate"
_CALLS = "rename", "link", "symlink", "remove", "mkdir", "rmdir", "chmod", "truncate"
_CHANGES = {f"os.{call}" for call in _CALLS}
_PROGRAMS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pty.spawn"}
_PLUGINS = "-q", "-p", "reliability.audit", "-p", "no:cacheprovider", "-p", "no:xdist"
_PLUGINS = "-q", "-p", "reliability.audit", "-p", "no:cacheprovider", "-p", "no:xdist"
_seen: Counter[str] = Counter()
_forbidden: list[str] = []
_allowed = [""]


def watch(*arguments: str) -> dict[str, Any]:
    """Run tests with the hook, in a process of their own; what it saw."""
    with tempfile.TemporaryDirectory() as place:
        told = Path(place) / "told.json"
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *_PLUGINS, f"--basetemp={place}/tests", *arguments],
            cwd=_ROOT,
            env={**os.environ, "TOYNET_AUDIT": str(told), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(done.stdout[-3000:])
        found: dict[str, Any] = json.loads(told.read_text())
    return {**found, "passed": not found["forbidden"] and bool(found["events"])}


def pytest_configure(config: Any) -> None:
    _allowed[0] = str(config.option.basetemp)
    sys.addaudithook(_watch)


def pytest_sessionfinish(session: Any) -> None:
    told = {
        "tests": session.testscollected,
        "tests_failed": session.testsfailed,
        "events": dict(_seen),
        "forbidden": _forbidden[:20],
    }
    place = Path(os.environ["TOYNET_AUDIT"])
    _allowed.append(str(place))
    place.write_text(json.dumps(told))


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        path, _, flags = arguments
        if isinstance(path, str | bytes) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            _note("files opened for writing", path)
    elif event in _CHANGES:
        _note("changes", arguments[0])
    elif event == "pickle.find_class":
        _seen["imports by a pickle"] += 1
        _forbidden.append(f"a pickle imported {arguments[0]}.{arguments[1]}")
    elif event in _PROGRAMS:
        _forbidden.append(f"{event} {arguments[0]!r}")


def _note(kind: str, path: Any) -> None:
    """Count it; inside the tests' folder it is allowed. Below an open folder only the end is known."""
    name = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else str(path)
    _seen[kind] += 1
    if name.startswith("/") and not name.startswith((*_allowed, "/dev/null")):
        _forbidden.append(f"{kind}: {name}")
