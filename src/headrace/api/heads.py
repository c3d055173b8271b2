"""Heads of requests that the parser has read before: a client that asks again sends the same head, but for the length of its body.

A head is known by its very bytes without the line of the length, so what the parser found in it once holds whenever it comes again. Every
other goes to the parser, which is strict and takes its time.
"""

import re
from collections.abc import Callable, Coroutine
from typing import Any, Final, NamedTuple, TypeAlias

HEADS_MAX: Final = 4_096
HEAD_BYTES_MAX: Final = 4_096
"""Longer ones are read each time: what is kept has an end."""
_LENGTH: Final = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: (\d{1,12})(?=\r\n)")
_FOLDED: Final = re.compile(rb"\r\n[ \t]")

Handler: TypeAlias = Callable[[Any], Coroutine[Any, Any, None]]
"""What answers an exchange."""


class Headers(dict[bytes, bytes]):
    """Names, in lower case, and values. `wishes` is what was made of them, by whoever did: the same head is not read twice."""

    wishes: object = None


class Head(NamedTuple):
    """A head of HTTP/1.1 that keeps its connection, and waits for no word of ours before its body comes."""

    handler: Handler
    headers: Headers
    """Shared by all requests of this head, so without the length of any: nobody changes them."""


class Heads:
    """The heads that all connections of one process share."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def read(self, data: bytes) -> tuple[Head, int, int] | None:
        """The head that `data` begins with, where its body begins, and how long that is; None: the parser must read it."""
        found = _split(data)
        if found is None:
            return None
        key, end, length = found
        head = self._known.get(key)
        return None if head is None else (head, end + 4, length)

    def keep(self, data: bytes, head: Head) -> None:
        """The parser found this in the head that `data` begins with."""
        found = _split(data)
        if found is None or _FOLDED.search(found[0]):
            return
        if len(self._known) >= HEADS_MAX:
            self._known.clear()
        headers = Headers((name, value) for name, value in head.headers.items() if name != b"content-length")
        self._known[found[0]] = Head(head.handler, headers)


def _split(data: bytes) -> tuple[bytes, int, int] | None:
    """The head without the line of its length, where it ends, and the length."""
    end = data.find(b"\r\n\r\n", 0, HEAD_BYTES_MAX)
    length = _LENGTH.search(data, 0, end + 2) if end > 0 else None
    if length is None:
        return None
    start, stop = length.span()
    return data[:start] + data[stop:end], end, int(length[1])
