"""How an answer is spoken: a stream's head goes out with its first words, a gathered answer at once when all is said."""

import json

import pytest

from headrace.api.voices import Gathered, Streamed
from headrace.core.errors import UpstreamCut
from headrace.core.stream import Finished, Text, Used, Verbatim
from headrace.core.usage import Usage
from headrace.testing.builders import an_ask

HI, END, USED = Text("hi"), Finished("stop"), Used(Usage(3, output=1))


class Wire:
    """Stands where the exchange is, and keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bytes]] = []
        self.left, self.patience_s, self.must_wait = False, 0.0, False

    async def drained(self) -> None: ...

    def begin(self, headers: bytes) -> None:
        self.told.append(("begin", headers))

    def write(self, data: bytes) -> None:
        self.told.append(("write", data))

    def end(self, trailer: bytes = b"") -> None:
        self.told.append(("end", trailer))

    def answer(self, status: int, headers: bytes, body: bytes) -> None:
        self.told.append((f"answer {status}", headers + b"\r\n" + body))

    @property
    def order(self) -> list[str]:
        return [what for what, _ in self.told]


def streamed(wire: Wire) -> Streamed:
    return Streamed(wire, an_ask(request="req_7"), lambda: 5, lambda: b"x-request-id: req_7\r\n")  # type: ignore[arg-type]


def gathered(wire: Wire) -> Gathered:
    return Gathered(wire, an_ask(request="req_7", stream=False), lambda: 5, lambda: b"x-request-id: req_7\r\n")  # type: ignore[arg-type]


def test_a_stream_begins_with_its_first_words():
    voice = streamed(wire := Wire())
    assert not voice.begun
    for said in (HI, END, USED):
        voice.hear(said)
    voice.finish(b"")
    assert wire.order == ["begin", "write", "write", "write", "end"]
    assert b"text/event-stream" in wire.told[0][1]
    assert b"x-request-id: req_7\r\n" in wire.told[0][1]
    assert wire.told[-2][1] == b"data: [DONE]\n\n"


def test_a_stream_in_which_nothing_was_said_is_an_answer_all_the_same():
    """An upstream that tells its usage and no word, and no end's mark: the client still gets a head before the end."""
    voice = streamed(wire := Wire())
    voice.hear(USED)
    voice.finish(b"")
    assert wire.order[0] == "begin"
    assert wire.order[-1] == "end"


def test_a_stream_that_breaks_says_so_in_its_last_frame():
    voice = streamed(wire := Wire())
    voice.hear(Verbatim(b"data: {}\n\n"))
    voice.break_off(UpstreamCut("cut"))
    assert wire.order == ["begin", "write", "write", "end"]
    assert json.loads(wire.told[-2][1].removeprefix(b"data: "))["error"]["code"] == "upstream_cut"


def test_a_gathered_answer_is_said_at_once():
    voice = gathered(wire := Wire())
    for said in (HI, END, USED):
        voice.hear(said)
    assert not voice.begun
    voice.finish(b"")
    ((what, whole),) = wire.told
    headers, _, body = whole.partition(b"\r\n\r\n")
    assert (what, headers) == ("answer 200", b"content-type: application/json\r\nx-request-id: req_7")
    assert json.loads(body)["id"] == "chatcmpl-7"


def test_before_all_is_gathered_nothing_is_said_not_even_a_failure():
    voice = gathered(wire := Wire())
    voice.hear(HI)
    with pytest.raises(UpstreamCut):
        voice.break_off(UpstreamCut("cut"))
    assert wire.told == []


@pytest.mark.parametrize("pieces", [[b'{"id":"its own"}'], [b'{"id":', b'"its own"}']])
def test_what_the_upstream_said_in_the_same_dialect_is_the_answer(pieces: list[bytes]):
    voice = gathered(wire := Wire())
    voice.hear(USED)
    for piece in pieces:
        voice.hear(Verbatim(piece))
    voice.finish(b"")
    assert wire.order == ["answer 200"]
    assert wire.told[0][1].endswith(b'\r\n\r\n{"id":"its own"}')
