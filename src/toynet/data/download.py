"""One file over HTTP: resumed, tried at several mirrors, and named only when its bytes are right.

Bytes gather in `NAME.part`. A transfer that breaks off is taken up again where it stopped (`Range`), at the
same mirror while it makes headway, then at the next; where a server knows no ranges, what is already here is
read past. Only a file whose sha256 is the expected one takes its name, in one rename; wrong bytes are
removed. Standard library only, so proxies are those of the environment.
"""

import http.client
import os
import queue
import re
import shutil
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from toynet.core.errors import DataError, UsageError
from toynet.core.files import sha256_of, sync_folder
from toynet.core.reporter import Reporter, Silent

PATIENCE_S = 25.0
"""Seconds in which no byte arrives, over all mirrors together, after which a download ends."""

ANSWER_S = 10.0
"""Seconds that one mirror may stay silent."""

PAUSE_S = 1.0
"""Pause before a mirror is asked again; grows with each request that brought nothing."""

FRUITLESS_REQUESTS = 3
REQUESTS_PER_MIRROR = 200
CHUNK_BYTES = 1 << 18


class NetworkError(DataError):
    """No mirror gave the file; the message says what happened at each."""


def download(
    urls: Sequence[str],
    target: Path,
    *,
    sha256: str,
    limit_bytes: int,
    reporter: Reporter = Silent(),
    patience_s: float = PATIENCE_S,
) -> None:
    """Bring the file at one of `urls`, tried in order, to `target`.

    A transfer larger than `limit_bytes` is broken off. Raises `UsageError` for an address that is not
    HTTP, `NetworkError` when no mirror gave the right bytes (a partial file is kept and resumed by the next
    call), `DataError` for an error of the disk.
    """
    for url in urls:
        if not is_web_address(url):
            raise UsageError(f"{url} is not an address that starts with http:// or https://")
    transfer = _Transfer(target, sha256, limit_bytes, reporter, patience_s)
    failures = []
    try:
        for position, url in enumerate(urls):
            try:
                transfer.bring(url, mirrors_left=len(urls) - position)
                return
            except _MirrorFailed as failure:
                failures.append(f"{urllib.parse.urlsplit(url).netloc}: {failure}")
    except OSError as error:
        raise DataError(f"cannot write {transfer.part}: {error.strerror or error}") from error
    raise NetworkError("; ".join(failures))


def is_web_address(source: str) -> bool:
    """Whether `source` names something to be had over HTTP."""
    return source.lower().startswith(("http://", "https://"))


class _MirrorFailed(Exception):
    """A mirror did not give the file. Never an `OSError`, so that those left are the disk's."""


class _Transfer:
    """One download on its way: the part file, how far it came, and how long nothing may arrive."""

    def __init__(
        self, target: Path, sha256: str, limit_bytes: int, reporter: Reporter, patience_s: float
    ) -> None:
        self.target = target
        self.part = target.with_name(f"{target.name}.part")
        self.sha256 = sha256
        self.limit_bytes = limit_bytes
        self.reporter = reporter
        self.patience_s = patience_s
        self.last_byte_at = time.monotonic()
        self.shown: tuple[int, int] | None = None

    def bring(self, url: str, mirrors_left: int) -> None:
        """Complete, check and name the file from one mirror.

        Where a partial file was inherited from an earlier call or another mirror, the fault of wrong bytes
        may lie in it: then this mirror gets a second try from the first byte on.
        """
        for _ in range(2 if self._size() else 1):
            self._complete(url, mirrors_left)
            if self._take_name():
                return
        raise _MirrorFailed("sent other bytes than the published sha256 promises")

    def _take_name(self) -> bool:
        if sha256_of(self.part) != self.sha256:
            self.part.unlink()
            return False
        os.replace(self.part, self.target)
        sync_folder(self.target.parent)
        return True

    def _complete(self, url: str, mirrors_left: int) -> None:
        furthest = self._size()
        heard = False
        fruitless = 0
        for _ in range(REQUESTS_PER_MIRROR):
            try:
                if self._request(url, self._wait_s(mirrors_left)):
                    return
                reason = "the transfer broke off"
            except _MirrorFailed as failure:
                reason = str(failure)
            if self._size() > furthest:
                furthest, heard, fruitless = self._size(), True, 0
            else:
                fruitless += 1
            if fruitless == FRUITLESS_REQUESTS or not heard:
                raise _MirrorFailed(reason)
            time.sleep(min(fruitless * PAUSE_S, self._patience_left_s()))
        raise _MirrorFailed(f"the transfer broke off {REQUESTS_PER_MIRROR} times")

    def _request(self, url: str, wait_s: float) -> bool:
        """Append what one answer brings; true when the file has come to its end."""
        offset = self._size()
        headers = {"User-Agent": "toynet", "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        with _open(urllib.request.Request(url, headers=headers), wait_s) as answer:
            if answer.status == 416:  # nothing lies beyond the part file: its sha256 decides what it is
                return True
            skip = 0 if answer.status == 206 else offset  # without ranges the file comes from its first byte
            total = _total_bytes(answer, offset)
            self._announce(offset, total)
            with self.part.open("ab") as file:
                for chunk in _chunks(answer):
                    self.last_byte_at = time.monotonic()
                    fresh = chunk[skip:]
                    skip = max(0, skip - len(chunk))
                    file.write(fresh)
                    self.reporter.advance(len(fresh))
                    self.shown = (file.tell(), total)
                    if file.tell() > self.limit_bytes:
                        file.truncate(0)
                        raise _MirrorFailed(f"sent more than {self.limit_bytes:,} bytes")
                file.flush()
                os.fsync(file.fileno())
        return self._size() == total if total else skip == 0

    def _announce(self, start: int, total: int) -> None:
        if total > self.limit_bytes:
            raise _MirrorFailed(f"offers {total:,} bytes, more than the {self.limit_bytes:,} expected")
        if 0 < total < start:
            raise _MirrorFailed(
                f"offers {total:,} bytes, fewer than {self.part} has; remove that if it is wrong"
            )
        free = shutil.disk_usage(self.part.parent).free
        if total - start > free:
            needed = (total - start) / 1e6
            raise DataError(f"{self.part} needs {needed:.0f} MB more, the disk has {free / 1e6:.0f} MB free")
        if self.shown != (start, total):
            self.reporter.begin(f"download {self.target.name}", total, "bytes")
            self.reporter.advance(start)
            self.shown = (start, total)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _patience_left_s(self) -> float:
        return max(0.0, self.last_byte_at + self.patience_s - time.monotonic())

    def _wait_s(self, mirrors_left: int) -> float:
        """How long a mirror may take to answer, and then again to send its first bytes."""
        wait_s = min(ANSWER_S, self._patience_left_s() / mirrors_left / 2)
        if wait_s <= 0.0:
            raise _MirrorFailed(f"nothing arrived in {self.patience_s:.0f} s")
        return wait_s


def _open(request: urllib.request.Request, wait_s: float) -> http.client.HTTPResponse:
    """`urlopen` with a limit on the whole; socket timeouts leave out the look-up of the host's name."""
    answers: queue.SimpleQueue[http.client.HTTPResponse | Exception] = queue.SimpleQueue()
    abandoned = threading.Event()

    def ask() -> None:
        try:
            answer = urllib.request.urlopen(request, timeout=wait_s)
        except Exception as error:
            answers.put(error)
            return
        answers.put(answer)
        if abandoned.is_set():
            answer.close()

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=wait_s)
    except queue.Empty:
        abandoned.set()
        raise _MirrorFailed(f"no answer in {wait_s:.0f} s") from None
    if isinstance(answer, urllib.error.HTTPError) and answer.code == 416 and request.has_header("Range"):
        return answer  # type: ignore[return-value]  # it is an answer too, of the same interface
    if isinstance(answer, Exception):
        raise _MirrorFailed(_reason(answer)) from answer
    return answer


def _chunks(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := answer.read1(CHUNK_BYTES):
            yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise _MirrorFailed(_reason(error)) from error


def _total_bytes(answer: http.client.HTTPResponse, start: int) -> int:
    """Size of the whole file, 0 where the server does not tell."""
    if answer.status == 206:
        span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", answer.headers.get("Content-Range", ""))
        if span is None or int(span[1]) != start:
            raise _MirrorFailed("answered with another part of the file than was asked for")
        return int(span[2])
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else 0


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return f"HTTP {error.code} {error.reason}"
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror
    return str(cause) or type(cause).__name__
