"""Server-sent events: how bytes are cut on their way changes nothing."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from headrace.wire.sse import FrameCutter, frames, payload

LINES = st.sampled_from([b"data: {}", b"data:x", b": ping", b"event: error", b"data: \xf0\x9f\x9a\xb0", b"data: [DONE]", b"id"])
FRAMES = st.lists(LINES, min_size=1, max_size=3)
NEWLINES = st.sampled_from([b"\n", b"\r\n", b"\r"])
CUTS = st.lists(st.integers(1, 12), max_size=40)


def in_pieces(wire: bytes, cuts: list[int]) -> list[bytes]:
    """`wire`, cut into pieces of these sizes, and what is left as the last."""
    pieces = []
    for size in cuts:
        pieces.append(wire[:size])
        wire = wire[size:]
    return [piece for piece in [*pieces, wire] if piece]


def written(stream: list[list[bytes]], newline: bytes) -> bytes:
    return b"".join(newline.join(frame) + newline * 2 for frame in stream)


@given(stream=st.lists(FRAMES, max_size=6), newline=NEWLINES, cuts=CUTS, rest=st.sampled_from([b"", b"data: un", b"data: unfinished"]))
@example(stream=[[b"data: {}"], [b"data: [DONE]"]], newline=b"\r", cuts=[], rest=b"")
def test_chunking_is_invisible(stream, newline, cuts, rest):
    wire = written(stream, newline) + rest
    cutter = FrameCutter()
    passed = [cutter.feed(piece) for piece in in_pieces(wire, cuts)]
    held = cutter.close()
    assert b"".join([*passed, held]) == wire
    heard = [payload(frame) for ready in [*passed, held] for frame in frames(ready)]
    assert heard == [payload(newline.join(frame)) for frame in stream] + ([payload(rest)] if rest else [])


@given(wire=st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\r\n", b"data: "]), max_size=30).map(b"".join), cuts=CUTS)
def test_no_byte_is_lost_or_made(wire, cuts):
    cutter = FrameCutter()
    passed = b"".join(cutter.feed(piece) for piece in in_pieces(wire, cuts))
    assert passed + cutter.close() == wire
    assert b"".join(frames(wire)) == wire


@given(stream=st.lists(FRAMES, min_size=1, max_size=6), newline=st.sampled_from([b"\n", b"\r\n"]), cuts=CUTS)
def test_a_frame_passes_as_soon_as_it_is_whole(stream, newline, cuts):
    wire, cutter, passed, fed = written(stream, newline), FrameCutter(), 0, 0
    for piece in in_pieces(wire, cuts):
        passed, fed = passed + len(cutter.feed(piece)), fed + len(piece)
        ends = [end.end() for end in re.finditer(re.escape(newline * 2), wire[:fed])]
        assert passed == max(ends, default=0)
