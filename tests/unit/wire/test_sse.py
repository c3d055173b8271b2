"""Frames: where they end, and what they carry."""

import pytest

from headrace.wire import sse
from headrace.wire.sse import FrameCutter, frames, payload

PAYLOADS = [
    (b"data: {}\n\n", b"{}"),
    (b"data:{}\n\n", b"{}"),
    (b"data:  two spaces\n\n", b" two spaces"),
    (b"data: a\r\ndata: b\r\n\r\n", b"a\nb"),
    (b"event: error\rdata: a\r\r", b"a"),
    (b": a comment\n\n", b""),
    (b"\n\n", b""),
    (b"id: 7\nretry: 10\ndata\n\n", b""),
]


@pytest.mark.parametrize(("frame", "carried"), PAYLOADS)
def test_payload(frame: bytes, carried: bytes):
    assert payload(frame) == carried


FED = [
    # what arrives, what may pass at once
    (b"data: a", b""),
    (b"data: a\n", b""),
    (b"data: a\n\n", b"data: a\n\n"),
    (b"data: a\r\n\r\ndata: b", b"data: a\r\n\r\n"),
    (b"data: a\r\n\r", b""),  # the LF of this CRLF is still to come
    (b"data: a\r\rdata: b", b"data: a\r\r"),
    (b"data: a\n\ndata: b\n\nda", b"data: a\n\ndata: b\n\n"),
]


@pytest.mark.parametrize(("data", "ready"), FED)
def test_only_whole_frames_pass(data: bytes, ready: bytes):
    cutter = FrameCutter()
    assert cutter.feed(data) == ready
    assert cutter.close() == data[len(ready) :]
    assert cutter.close() == b""


def test_frames_one_by_one():
    assert frames(b"data: a\n\ndata: b\r\n\r\ndata: c") == [b"data: a\n\n", b"data: b\r\n\r\n", b"data: c"]
    assert frames(b"data: a\n\n") == [b"data: a\n\n"]
    assert frames(b"") == []


def test_what_we_write_is_a_frame():
    assert frames(sse.frame(b"{}") + sse.DONE) == [b"data: {}\n\n", b"data: [DONE]\n\n"]
