"""What an operation asks of the disk, in order, and every state that a power cut may leave of it.

The model is that of a journaling file system: a file's content is safe once it was flushed (fsync), a name, a
rename or a removal once its folder was flushed. What was not flushed may be there, not at all, up to some
byte, or with zeros from there on; changes of one folder take effect in their order.
"""

import builtins
import io
import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

Change = tuple[str, "Node | None"]
"""A name in a folder, and what it means from now on."""


Left = dict[str, bytes | None]
"""What a power cut leaves: by path, a file's bytes, or none for a folder; folders before what is in them."""


@dataclass
class Node:
    """A file or a folder, as it is and as a power cut leaves it."""

    is_folder: bool
    content: bytearray = field(default_factory=bytearray)
    safe_content: bytes = b""
    entries: "dict[str, Node]" = field(default_factory=dict)
    safe_entries: "dict[str, Node]" = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)

    def flush(self) -> None:
        self.safe_content = bytes(self.content)
        self.safe_entries = dict(self.entries)
        self.pending.clear()

    def change(self, name: str, meaning: "Node | None") -> None:
        self.pending.append((name, meaning))
        _apply(self.entries, name, meaning)


class Disk:
    """The folder `root`, all of it safe at first; `crash` is called around each change and flush."""

    def __init__(self, root: Path, crash: Callable[["Disk"], None]) -> None:
        self.root, self.crash, self.points = root, crash, 0
        self.tree = _read(root)

    def knows(self, path: str) -> bool:
        return path == str(self.root) or path.startswith(f"{self.root}/")

    def find(self, path: str) -> Node:
        node = self.tree
        for name in Path(path).relative_to(self.root).parts:
            node = node.entries[name]
        return node

    def set(self, path: str, meaning: Node | None) -> None:
        self.find(os.path.dirname(path)).change(os.path.basename(path), meaning)

    def point(self) -> None:
        self.points += 1
        self.crash(self)

    def left(self, draw: random.Random | None, *, kept: bool = False) -> Left:
        """What is left: all (`kept`), what is safe, or with `draw` something between."""
        return dict(_left(self.tree, "", draw, kept))


def lay(left: Left, target: Path) -> None:
    """Make `target`, with what is left of a disk in it."""
    for name, content in left.items():
        if content is None:
            (target / name).mkdir()
        else:
            (target / name).write_bytes(content)


def _left(
    node: Node, name: str, draw: random.Random | None, kept: bool
) -> Iterator[tuple[str, bytes | None]]:
    if not node.is_folder:
        whole, safe = bytes(node.content), node.safe_content
        content = whole if kept else safe
        if draw is not None and whole != safe:
            flushed = safe if whole.startswith(safe) else b""
            rest = whole[len(flushed) :]
            cut = draw.randint(0, len(rest))
            zeros = b"\0" * (len(rest) - cut)
            content = draw.choice([safe, whole, flushed + rest[:cut], flushed + rest[:cut] + zeros])
        yield name, content
        return
    yield name, None
    entries = dict(node.entries if kept else node.safe_entries)
    if draw is not None:
        for one, meaning in node.pending[: draw.randint(0, len(node.pending))]:
            _apply(entries, one, meaning)
    for one, inner in entries.items():
        yield from _left(inner, os.path.join(name, one), draw, kept)


def _apply(entries: dict[str, Node], name: str, meaning: Node | None) -> None:
    if meaning is None:
        entries.pop(name, None)
    else:
        entries[name] = meaning


def _read(path: Path) -> Node:
    if path.is_dir():
        node = Node(True, entries={entry.name: _read(entry) for entry in path.iterdir()})
    else:
        node = Node(False, content=bytearray(path.read_bytes()))
    node.flush()
    return node


class _File:
    """An open file that tells the disk of its writes; what is buffered reaches it with a flush."""

    def __init__(self, real: Any, node: Node, disk: Disk, buffered: bool) -> None:
        self._real, self._node, self._disk, self._buffered = real, node, disk, buffered
        self._waiting: list[tuple[int, bytes]] = []

    def write(self, data: Any) -> int:
        raw = bytes(data)
        self._real.flush()
        at_end = "a" in self._real.mode
        where = os.fstat(self._real.fileno()).st_size if at_end else self._real.tell()
        count = self._real.write(raw)
        self._real.flush()
        self._waiting.append((where, raw))
        if not self._buffered:
            self._issue()
        return int(count)

    def truncate(self, size: int | None = None) -> int:
        self._issue()
        size = self._real.tell() if size is None else size
        self._disk.point()
        del self._node.content[size:]
        return int(self._real.truncate(size))

    def flush(self) -> None:
        self._issue()
        self._real.flush()

    def close(self) -> None:
        if not self._real.closed:
            self._issue()
            self._real.close()

    def _issue(self) -> None:
        for where, raw in self._waiting:
            self._disk.point()
            content = self._node.content
            content.extend(b"\0" * (where - len(content)))
            content[where : where + len(raw)] = raw
            self._disk.point()
        self._waiting.clear()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __enter__(self) -> "_File":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._real)


@contextmanager
def recorded(root: Path, crash: Callable[[Disk], None], *, flushes: bool = True) -> Iterator[Disk]:
    """Watch all that this process does below `root` through Python's files and `os`.

    Without `flushes` no flush has an effect, as on a disk that lies.
    """
    disk = Disk(root, crash)
    real_open = io.open
    busy = [False]

    def place(path: Any, folder: int | None = None) -> str:
        if isinstance(path, int):
            return os.readlink(f"/proc/self/fd/{path}")
        text = os.fspath(path)
        if folder is not None and not os.path.isabs(text):
            text = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), text)
        return os.path.abspath(text)

    def opened(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **options: Any) -> Any:
        where = place(file)
        if busy[0] or not disk.knows(where) or not set(mode) & set("wax+"):
            return real_open(file, mode, buffering, *rest, **options)
        is_new = not os.path.exists(where)
        found = real_open(file, mode, buffering, *rest, **options)
        if is_new:
            disk.point()
            disk.set(where, Node(False))
        if "w" in mode:
            disk.find(where).content.clear()
        if "b" not in mode:
            return found  # the text of a lock: no one reads it after a power cut
        return _File(found, disk.find(where), disk, buffered=buffering != 0)

    def changing(name: str, effect: Callable[..., None]) -> Callable[..., Any]:
        def call(path: Any, *rest: Any, **options: Any) -> Any:
            where = place(path, options.get("dir_fd"))
            if busy[0] or not disk.knows(where):
                return real[name](path, *rest, **options)
            disk.point()
            result = real[name](path, *rest, **options)
            effect(where, *rest)
            disk.point()
            return result

        return call

    def renamed(source: str, target: Any) -> None:
        node = disk.find(source)
        disk.set(place(target), node)
        disk.set(source, None)

    effects: dict[str, Callable[..., None]] = {
        "fsync": lambda where: disk.find(where).flush() if flushes else None,
        "mkdir": lambda where, *_: disk.set(where, Node(True)),
        "rmdir": lambda where: disk.set(where, None),
        "unlink": lambda where: disk.set(where, None),
        "remove": lambda where: disk.set(where, None),
        "rename": renamed,
        "replace": renamed,
    }
    real = {name: getattr(os, name) for name in effects}
    inner = disk.crash

    def crash_alone(one: Disk) -> None:
        busy[0] = True
        try:
            inner(one)
        finally:
            busy[0] = False

    disk.crash = crash_alone
    with ExitStack() as patches:
        patches.enter_context(patch.object(io, "open", opened))
        patches.enter_context(patch.object(builtins, "open", opened))
        for name, effect in effects.items():
            patches.enter_context(patch.object(os, name, changing(name, effect)))
        yield disk
