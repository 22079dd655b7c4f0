"""Bodies of requests: read as they come, cut off where they are too long or too slow, never on the disk."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import NoReturn

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.requests import ClientDisconnect

from toynet.serving.forms import first_file
from toynet.serving.refusals import Refusal, busy

LARGEST_BYTES = 10 * 2**20
SLOWEST_S = 20.0
_PATIENCE_S = 2.0
_MOST_TOGETHER = 16 * LARGEST_BYTES
_KINDS = "PNG, JPEG or WebP"


@dataclass
class Uploads:
    """What all uploads in progress hold together is bounded too: `held`, in bytes."""

    held: int = 0

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """All of the body. Raises `Refusal`: 413 as soon as it is too long, whatever its header says of its
        length, 408 when it is not here in time, 503 where others hold too much already."""
        content, chunks = bytearray(), request.stream()
        try:
            async with asyncio.timeout(SLOWEST_S):
                if _stated_length(request) > LARGEST_BYTES:
                    await _refuse_length(chunks, waits="expect" in request.headers)
                async for chunk in chunks:
                    self.held += len(chunk)
                    content += chunk
                    if len(content) > LARGEST_BYTES:
                        await _refuse_length(chunks)
                    if self.held > _MOST_TOGETHER:
                        raise busy()
            yield bytes(content)
        except TimeoutError:
            raise Refusal(408, f"the upload took longer than {SLOWEST_S:g} seconds", close=True) from None
        except ClientDisconnect:
            raise Refusal(400, "the upload was broken off", close=True) from None
        finally:
            self.held -= len(content)


def picture_in(content: bytes, content_type: str) -> bytes:
    """The picture in a body: the first file of a form, else the body itself. Its kind is told by its content.

    Raises `Refusal`: 400 for a form that cannot be read or has no file, 415 for what is no picture.
    """
    kind, options = parse_options_header(content_type)
    picture = (
        first_file(content, options.get(b"boundary", b"")) if kind == b"multipart/form-data" else content
    )
    if not picture:
        raise Refusal(400, f"there is no picture in the request; send a {_KINDS} file")
    if not _is_known(picture):
        raise Refusal(415, f"this is no {_KINDS} file, whatever it is called")
    return picture


def _stated_length(request: Request) -> int:
    stated = request.headers.get("content-length", "")
    return int(stated[:20]) if stated.isdecimal() else 0


async def _refuse_length(chunks: AsyncIterator[bytes], *, waits: bool = False) -> NoReturn:
    """413. Many clients read only when they have sent all, so some more is taken in and thrown away; not of
    one that waits to be told to go on."""
    thrown = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(_PATIENCE_S):
            while not waits and thrown <= LARGEST_BYTES and (chunk := await anext(chunks, b"")):
                thrown += len(chunk)
    raise Refusal(413, f"more than {LARGEST_BYTES // 2**20} MB; send a smaller picture", close=True)


def _is_known(content: bytes) -> bool:
    return (
        content.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"))
        or content[:4] + content[8:12] == b"RIFFWEBP"
    )
