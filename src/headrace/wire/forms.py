"""Forms (`multipart/form-data`) as values: read whole, and written anew.

A form is never passed on as it came: what was read is what is sent, so that nobody behind us can read it otherwise.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from headrace.core.errors import InvalidRequest
from headrace.core.native import Part

PARTS_MAX = 64
BOUNDARY = b"headrace-7d1f0c5ae2b94d36"
_ESCAPED = {"\r": "%0D", "\n": "%0A", '"': "%22"}
_KIND = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(?:; ?[\w-]+=[\w.-]+)*", re.ASCII)


def is_form(kind: bytes) -> bool:
    """Whether a content type is that of a form."""
    return kind.partition(b";")[0].strip().lower() == b"multipart/form-data"


def read_form(kind: bytes, body: bytes) -> tuple[Part, ...]:
    """The parts of a form whose content type is `kind`, in their order. Raises InvalidRequest."""
    boundary = parse_options_header(kind)[1].get(b"boundary")
    if not boundary:
        raise InvalidRequest("The form can't be read: its content type names no boundary.")
    reader = _Reader()
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        parser.write(body)
        parser.finalize()
    except MultipartParseError as wrong:
        raise InvalidRequest(f"The form can't be read: {wrong}.") from None
    if not reader.ended:
        raise InvalidRequest("The form can't be read: it does not end.")
    return tuple(reader.parts)


def written(parts: Iterable[Part]) -> tuple[str, bytes]:
    """Content type and body of a form."""
    boundary, data = BOUNDARY, list(parts)
    while any(boundary in part.data for part in data):
        boundary += b"0"
    pieces: list[bytes] = []
    for part in data:
        head = f'content-disposition: form-data; name="{_quoted(part.name)}"'
        if part.filename is not None:
            head += f'; filename="{_quoted(part.filename)}"'
        if part.kind is not None:
            head += f"\r\ncontent-type: {part.kind}"
        pieces += [b"--", boundary, b"\r\n", head.encode("utf-8", "replace"), b"\r\n\r\n", part.data, b"\r\n"]
    pieces += [b"--", boundary, b"--\r\n"]
    return f"multipart/form-data; boundary={boundary.decode()}", b"".join(pieces)


def _quoted(text: str) -> str:
    return "".join(_ESCAPED.get(letter, letter) for letter in text)


class _Reader:
    """Hears the parser, and keeps the parts."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.ended = False
        self._headers: dict[bytes, bytes] = {}
        self._field = self._value = b""
        self._pieces: list[bytes] = []

    def callbacks(self) -> Any:
        """By the parser's names for them."""
        told: dict[str, Callable[..., None]] = {
            "on_part_begin": self._begin,
            "on_header_field": self._more_field,
            "on_header_value": self._more_value,
            "on_header_end": self._header,
            "on_part_data": self._more,
            "on_part_end": self._part,
            "on_end": self._end,
        }
        return told

    def _begin(self) -> None:
        self._headers, self._pieces = {}, []

    def _more_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _more_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header(self) -> None:
        self._headers[self._field.lower()] = self._value
        self._field = self._value = b""

    def _more(self, data: bytes, start: int, end: int) -> None:
        self._pieces.append(data[start:end])

    def _part(self) -> None:
        if len(self.parts) >= PARTS_MAX:
            raise InvalidRequest(f"The form has more than {PARTS_MAX} parts.")
        kind, said = parse_options_header(self._headers.get(b"content-disposition"))
        name, filename = said.get(b"name"), said.get(b"filename")
        if kind != b"form-data" or name is None:
            raise InvalidRequest("The form can't be read: a part has no name.")
        its = self._headers.get(b"content-type", b"").decode("latin-1").strip()
        self.parts.append(
            Part(
                name=name.decode("utf-8", "replace"),
                data=b"".join(self._pieces),
                filename=None if filename is None else filename.decode("utf-8", "replace"),
                kind=its if _KIND.fullmatch(its) else None,
            )
        )

    def _end(self) -> None:
        self.ended = True
