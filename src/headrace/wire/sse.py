"""Server-sent events: bytes in, whole frames out, under any chunking.

Frames end at an empty line; lines end in LF, CRLF or CR. A relay needs no more than where a frame ends, so that is all that is kept.
"""

import re

_LINE_END = re.compile(rb"\r\n|\n|\r")
_FRAME_END = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")


class FrameCutter:
    """Holds only an unfinished frame, `rest`."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> bytes:
        """All whole frames that `data` completes, as the bytes they came in; empty when none is complete."""
        held = self.rest + data if self.rest else data
        end = _last_frame_end(held)
        self.rest = held[end:]
        return held[:end]

    def close(self) -> bytes:
        """What is left when the stream ends: a frame without its empty line, or nothing."""
        rest, self.rest = self.rest, b""
        return rest


def _last_frame_end(held: bytes) -> int:
    if b"\r" not in held:
        return held.rfind(b"\n\n") + 2 if b"\n\n" in held else 0
    last = 0
    for found in _FRAME_END.finditer(held):
        if found.end() < len(held) or not held.endswith(b"\r"):  # a CR at the very end may be half of a CRLF
            last = found.end()
    return last


def frames(data: bytes) -> list[bytes]:
    """Whole frames one by one, each with its end; their concatenation is `data`."""
    found, start = [], 0
    for end in _FRAME_END.finditer(data):
        found.append(data[start : end.end()])
        start = end.end()
    if start < len(data):
        found.append(data[start:])
    return found


def payload(frame: bytes) -> bytes:
    """The data of one frame: its `data:` lines joined by newlines; empty for comments and other fields."""
    lines = [line[5:].removeprefix(b" ") for line in _LINE_END.split(frame) if line.startswith(b"data:")]
    return b"\n".join(lines)


def frame(data: bytes) -> bytes:
    """One event that carries `data`, a single line."""
    return b"data: " + data + b"\n\n"


DONE = b"data: [DONE]\n\n"
