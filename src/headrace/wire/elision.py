"""A long request read without its long texts.

What a request is admitted and placed by stands around its texts and not in them, and a text ends at the next quote that no backslash
escapes. So a prompt of 300 KB is a search for a few quotes, which the system's `memchr` does at the speed of memory, and not a parse.
Whether the text itself is sound is not looked at here: who has to understand it reads it whole, and an upstream that does refuses it.
"""

import re
from typing import Final

SHORT: Final = 8_192
"""Bytes of a request below which it is simply read."""
TEXT_MIN: Final = 4_096
LOOKS_MAX: Final = 48
"""Looks for a quote, each of about the price of parsing some hundred bytes; what is left then is read as it is."""
_BEGINS: Final = re.compile(rb'"(?:content|text|url|data)"\s*:\s*"')
_BACKSLASH: Final = b"\\"
_WINDOW: Final = 64


def without_texts(body: bytes) -> bytes:
    """JSON that says the same as `body`, but for texts of more than `TEXT_MIN` bytes, which are empty in it."""
    global _latest
    if len(body) <= TEXT_MIN:
        return body  # no text in it can be that long
    latest = _latest
    if latest[0] is not body:
        latest = _latest = body, _without_texts(body)
    return latest[1]


_latest: tuple[bytes, bytes] = b"", b""
"""A memo of one: several look at the same request, one after another."""


def _without_texts(body: bytes) -> bytes:
    kept: list[bytes] = []
    at = copied = 0
    looks = LOOKS_MAX
    while looks > 0 and (begins := _BEGINS.search(body, at)) is not None:
        start = begins.end()
        at = body.find(b'"', start)
        looks -= 1
        while looks > 0 and at > 0 and _escaped(body, at):
            at = body.find(b'"', at + 1)
            looks -= 1
        if at < 0 or _escaped(body, at):
            break
        if at - start > TEXT_MIN:
            kept.append(body[copied:start])
            copied = at
    return b"".join((*kept, body[copied:])) if kept else body


def _escaped(body: bytes, at: int) -> bool:
    """Whether the quote there is part of the text: an odd number of backslashes stands before it."""
    width = _WINDOW
    while True:
        before = body[max(0, at - width) : at]
        run = len(before) - len(before.rstrip(_BACKSLASH))
        if run < len(before) or width >= at:
            return run % 2 == 1
        width *= 8
