"""Between two who speak the same: what little is touched, as tables."""

import json

import pytest

from headrace.core.errors import InvalidJson, UpstreamCut, UpstreamFailed
from headrace.core.usage import Usage
from headrace.wire.openai_chat import read_head
from headrace.wire.openai_upstream import StreamReader, body_for, read_answer

RENAMED = [
    # what the client sends, what this upstream gets
    (b'{"model":"m","messages":[]}', b'{"model":"its","messages":[]}'),
    (b'{ "messages" : [], "model" :\n "m" }', b'{ "messages" : [], "model" :\n "its" }'),
    (
        b'{"messages":[{"content":"my \\"model\\": \\"m\\""}],"model":"m"}',
        b'{"messages":[{"content":"my \\"model\\": \\"m\\""}],"model":"its"}',
    ),
    (
        b'{"model":"m","messages":[],"stream":true} \n',
        b'{"model":"its","messages":[],"stream":true,"stream_options":{"include_usage":true}}',
    ),
    (
        b'{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}',
        b'{"model":"its","messages":[],"stream":true,"stream_options":{"include_usage":true}}',
    ),
]


@pytest.mark.parametrize(("sent", "gets"), RENAMED)
def test_the_name_is_spliced_and_no_other_byte_changes(sent: bytes, gets: bytes):
    assert body_for(sent, read_head(sent), "its") == gets


REWRITTEN = [
    # where the key could mean something else too, only the meaning is kept
    b'{"metadata":{"model":"m"},"model":"m","messages":[]}',
    b'{"model":"other","messages":[],"model":"m"}',
    b'{"mod\\u0065l":"m","messages":[]}',
    b'{"mod\\u0065l":"m","messages":[],"metadata":{"model":"m"}}',
    b'{"model":"\\u006d","messages":[]}',
]


@pytest.mark.parametrize("sent", REWRITTEN)
def test_where_the_name_does_not_stand_in_the_open(sent: bytes):
    assert json.loads(body_for(sent, read_head(sent), "its")) == json.loads(sent) | {"model": "its"}


def test_who_asks_for_all_we_need_is_not_touched():
    for sent in (b'{"model":"m","messages":[]}', b'{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}'):
        assert body_for(sent, read_head(sent), "m") is sent


@pytest.mark.parametrize("options", [b"null", b"{}", b'{"include_usage":false}', b'{"include_usage":null}'])
def test_usage_is_always_asked_for(options: bytes):
    sent = b'{"model":"m","messages":[],"stream":true,"stream_options":' + options + b"}"
    assert json.loads(body_for(sent, read_head(sent), "m"))["stream_options"]["include_usage"] is True


def test_what_else_the_client_wishes_of_the_stream_is_kept():
    sent = b'{"model":"m","messages":[],"stream":true,"stream_options":{"include_obfuscation":false}}'
    assert json.loads(body_for(sent, read_head(sent), "m"))["stream_options"] == {"include_obfuscation": False, "include_usage": True}


USAGES = [
    # what vendors tell, in segments
    ({"prompt_tokens": 10, "completion_tokens": 5}, Usage(10, output=5)),
    ({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 4}}, Usage(6, cache_read=4)),
    ({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": None}, "cached_tokens": 3}, Usage(7, cache_read=3)),
    ({"prompt_tokens": 10, "num_cached_tokens": 3}, Usage(7, cache_read=3)),
    ({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 5}}, Usage(1, cache_read=4, cache_write=5)),
    ({"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 8}}, Usage(0, output=1, reasoning=8)),
    ({"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 99, "cache_write_tokens": 99}}, Usage(0, cache_read=10)),
    ({"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 99}}, Usage(0, reasoning=9)),
    ({}, Usage(0)),
]


@pytest.mark.parametrize(("told", "usage"), USAGES)
def test_usage_is_made_disjoint(told, usage):
    assert read_answer(json.dumps({"choices": [], "usage": told, "model": "its"}).encode()) == (usage, "its")


NO_ANSWERS = [
    b"",
    b"<html>",
    b"[]",
    b'{"usage":7}',
    b'{"usage":{"prompt_tokens":-7}}',
    b'{"usage":{"prompt_tokens_details":{"cached_tokens":-4}}}',
    b'{"model":"\xff"}',
    b'{"error":' + b"[" * 100_000,
]


@pytest.mark.parametrize("body", NO_ANSWERS, ids=lambda body: repr(body[:40]))
def test_what_is_no_answer_is_the_upstreams_failure(body: bytes):
    with pytest.raises(UpstreamFailed, match="not a chat completion"):
        read_answer(body)


@pytest.mark.parametrize(("error", "words"), [(b'{"message":"too hot"}', "too hot"), (b'"too hot"', "too hot"), (b"{}", "None")])
def test_an_error_inside_of_a_good_status(error: bytes, words: str):
    with pytest.raises(UpstreamFailed, match=words):
        read_answer(b'{"error":%s}' % error)


SAYS = b'data: {"choices":[{"delta":{"content":"hi"}}],"usage":null}\n\n'
TELLS = b'data: {"choices":[],"model":"its","usage":{"prompt_tokens":3,"completion_tokens":1}}\n\n'
BOTH = b'data: {"choices":[{"delta":{}}],"usage":{"prompt_tokens":3,"completion_tokens":1}}\n\n'
GROQ = b'data: {"choices":[{"delta":{}}],"x_groq":{"usage":{"prompt_tokens":3,"completion_tokens":1}}}\n\n'
DONE = b"data: [DONE]\n\n"
PING = b": ping\n\n"
USED = Usage(3, output=1)

STREAMS = [
    # upstream says            shown   passes at once       held to the end  used
    (SAYS + TELLS + DONE, True, SAYS, TELLS + DONE, USED),
    (SAYS + TELLS + DONE, False, SAYS, DONE, USED),
    (SAYS + BOTH + DONE, False, SAYS + BOTH, DONE, USED),
    (SAYS + GROQ + DONE, False, SAYS + GROQ, DONE, USED),
    (SAYS + PING + DONE, True, SAYS + PING, DONE, None),
    (SAYS + TELLS + PING, False, SAYS + PING, b"", USED),
    (BOTH, True, BOTH, b"", USED),
    (SAYS + TELLS + DONE.rstrip(), True, SAYS, TELLS + DONE.rstrip(), USED),
    (SAYS + DONE + b": after", False, SAYS, DONE + b": after", None),
    (SAYS + b'data: not json, "usage": {\n\n' + DONE, True, SAYS + b'data: not json, "usage": {\n\n', DONE, None),
]


@pytest.mark.parametrize(("wire", "show", "passes", "held", "used"), STREAMS)
def test_a_stream_passes(wire: bytes, show: bool, passes: bytes, held: bytes, used: Usage | None):
    reader = StreamReader(show_usage=show)
    assert reader.feed(wire) == passes
    reader.close()
    assert (reader.held, reader.usage) == (held, used)
    assert reader.model == ("its" if TELLS in wire else None)


def test_the_last_statement_of_usage_holds():
    reader = StreamReader(show_usage=False)
    reader.feed(BOTH + BOTH.replace(b'"completion_tokens":1', b'"completion_tokens":2'))
    assert reader.usage == Usage(3, output=2)


@pytest.mark.parametrize("wire", [b"", SAYS, SAYS + b"data: [DO", SAYS + TELLS[:-9]])
def test_a_stream_that_ends_before_its_answer_is_cut(wire: bytes):
    reader = StreamReader(show_usage=True)
    reader.feed(wire)
    with pytest.raises((UpstreamCut, UpstreamFailed)):
        reader.close()


def test_what_came_before_an_error_inside_of_a_stream_passes():
    reader = StreamReader(show_usage=True)
    assert reader.feed(SAYS + b'data: {"error":{"message":"the GPU fell off"}}\n\n') == SAYS
    assert isinstance(reader.failure, UpstreamFailed)
    assert "the GPU fell off" in reader.failure.message


def test_a_stream_whose_lines_end_in_cr_alone():
    reader = StreamReader(show_usage=True)
    wire = (SAYS + TELLS + DONE).replace(b"\n", b"\r")
    passed = reader.feed(wire)
    reader.close()
    assert (passed + reader.held, reader.usage, reader.done) == (wire, USED, True)


def test_a_key_that_is_no_text_is_the_clients_mistake():
    """`read_head` leaves unknown members unread, so that the mistake is found only here."""
    sent = b'{"model":"m","messages":[],"\xff":1,"stream":true,"stream_options":{}}'
    with pytest.raises(InvalidJson):
        body_for(sent, read_head(sent), "m")
