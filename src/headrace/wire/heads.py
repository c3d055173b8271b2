"""Heads of HTTP/1.1 that were read before: who speaks again says the same, but for the length of the body.

A head is known by its very bytes without the digits of its length, so what a parser found in it once holds whenever it comes again. Every
other goes to the parser, which is strict and takes its time.
"""

import re
from typing import Final

HEAD_BYTES_MAX: Final = 4_096
"""Longer ones are read each time: what is kept has an end."""
DIGITS_MAX: Final = 12
_LENGTH: Final = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: (\d{1,12})(?=\r\n)")
_FOLDED: Final = re.compile(rb"\r\n[ \t]")


class FamiliarHead:
    """One head, with any length."""

    __slots__ = ("_after", "_after_size", "_before", "_begins")

    def __init__(self, before: bytes, after: bytes) -> None:
        """`before` and `after` the digits of the length."""
        self._before, self._begins = before, len(before)
        self._after, self._after_size = after, len(after)

    @property
    def key(self) -> bytes:
        """Another for every other head."""
        return self._before + self._after

    def read(self, data: bytes) -> tuple[int, int] | None:
        """Where the body begins and how long it is, where `data` begins with this head; None: it does not."""
        if not data.startswith(self._before):
            return None
        begins = self._begins
        stop = data.find(b"\r", begins, begins + DIGITS_MAX + 1)
        length = data[begins:stop]
        if not length.isdigit() or not data.startswith(self._after, stop):
            return None
        return stop + self._after_size, int(length)


def split(data: bytes) -> tuple[bytes, bytes] | None:
    """The head that `data` begins with, before and after the digits of its length; None: it has none that could be told apart."""
    end = data.find(b"\r\n\r\n", 0, HEAD_BYTES_MAX)
    found = _LENGTH.search(data, 0, end + 2) if end > 0 else None
    if found is None:
        return None
    start, stop = found.span(1)
    return data[:start], data[stop : end + 4]


def familiar(data: bytes) -> FamiliarHead | None:
    """The head that `data` begins with, for when it comes again. A parser must have taken it, with this length and no other."""
    parts = split(data)
    if parts is None or _FOLDED.search(parts[0]) or _FOLDED.search(parts[1]):
        return None
    return FamiliarHead(*parts)
