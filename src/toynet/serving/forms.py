"""The file in a form that a browser sends (multipart/form-data), from memory to memory."""

from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from toynet.serving.refusals import Refusal

_LONGEST_BOUNDARY = 200


def first_file(content: bytes, boundary: bytes) -> bytes:
    """The first part that has a file name, empty where none has. Raises `Refusal` (400)."""
    if not boundary or len(boundary) > _LONGEST_BOUNDARY:
        raise Refusal(400, "the form's boundary is missing or too long")
    form = _Form()
    callbacks: Any = {name: getattr(form, name) for name in dir(form) if name.startswith("on_")}
    try:
        parser = MultipartParser(boundary, callbacks)
        parser.write(content)
        parser.finalize()
    except FormParserError as error:
        raise Refusal(400, f"the form cannot be read ({error})") from None
    return bytes(form.file)


class _Form:
    """What the parser tells, piece by piece."""

    def __init__(self) -> None:
        self.file = bytearray()
        self._reading = self._found = False
        self._headers: dict[bytes, bytes] = {}
        self._name, self._value = bytearray(), bytearray()

    def on_part_begin(self) -> None:
        self._headers.clear()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        self._reading = b"filename" in options and not self._found
        self._found = self._found or self._reading

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._reading:
            self.file += data[start:end]

    def on_part_end(self) -> None:
        self._reading = False
