"""An answer as an agent hears it."""

import pytest

from headrace.core.errors import UpstreamGarbled
from headrace.core.model import Reply, ToolAsk
from headrace.wire.openai_reply import reply_of


@pytest.mark.parametrize(
    ("body", "reply"),
    [
        (b'{"id":"x","choices":[{"message":{"content":"Hi"}}],"usage":{"total_tokens":7}}', Reply(text="Hi", tokens=7, request="x")),
        (b'{"choices":[{"message":{"content":null,"tool_calls":null}}]}', Reply(text="")),
        (
            b'{"choices":[{"message":{"tool_calls":[{"id":"c","type":"function","function":{"name":"look","arguments":"{}"}}]}}]}',
            Reply(text="", calls=(ToolAsk("c", "look", "{}"),)),
        ),
    ],
)
def test_an_answer(body, reply):
    assert reply_of(body) == reply


def test_what_is_known_besides():
    assert reply_of(b'{"id":"x","choices":[{"message":{}}]}', pico_usd=5, request="r") == Reply(text="", pico_usd=5, request="r")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"choices":[]}', b'{"choices":[{}]}'])
def test_no_answer(body):
    with pytest.raises(UpstreamGarbled):
        reply_of(body)
