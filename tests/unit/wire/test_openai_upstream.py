"""Between two who speak the same: what little is touched, as tables."""

import json

import pytest

from headrace.core.errors import HeadraceError, InvalidJson, UpstreamCut, UpstreamFailed, UpstreamOverloaded, UpstreamRefused
from headrace.core.usage import Usage
from headrace.wire.openai_chat import read_head
from headrace.wire.openai_upstream import StreamReader, body_for, read_answer


def gets(sent: bytes, model: str, *, asks_usage: bool = True) -> bytes:
    """What an upstream gets of what a client sends."""
    head = read_head(sent)
    asks_itself = head.stream_options is not None and head.stream_options.include_usage is True
    return body_for(sent, head.model, model, tells_usage=not head.stream or asks_itself or not asks_usage)


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


@pytest.mark.parametrize(("sent", "got"), RENAMED)
def test_the_name_is_spliced_and_no_other_byte_changes(sent: bytes, got: bytes):
    assert gets(sent, "its") == got


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
    assert json.loads(gets(sent, "its")) == json.loads(sent) | {"model": "its"}


def test_who_asks_for_all_we_need_is_not_touched():
    for sent in (b'{"model":"m","messages":[]}', b'{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}'):
        assert gets(sent, "m") is sent


@pytest.mark.parametrize("options", [b"null", b"{}", b'{"include_usage":false}', b'{"include_usage":null}'])
def test_usage_is_always_asked_for(options: bytes):
    sent = b'{"model":"m","messages":[],"stream":true,"stream_options":' + options + b"}"
    assert json.loads(gets(sent, "m"))["stream_options"]["include_usage"] is True


def test_what_else_the_client_wishes_of_the_stream_is_kept():
    sent = b'{"model":"m","messages":[],"stream":true,"stream_options":{"include_obfuscation":false}}'
    assert json.loads(gets(sent, "m"))["stream_options"] == {"include_obfuscation": False, "include_usage": True}


def test_who_is_not_to_be_asked_for_usage_is_not():
    sent = b'{"model":"m","messages":[],"stream":true}'
    assert gets(sent, "m", asks_usage=False) is sent
    assert gets(sent, "its", asks_usage=False) == b'{"model":"its","messages":[],"stream":true}'


def told(prompt: int, completion: int, total: int | None = None, **more: object) -> dict[str, object]:
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total or prompt + completion, **more}


USAGES = [
    # what servers tell, in segments
    pytest.param(told(10, 5), Usage(10, output=5), id="vLLM, TGI, Ollama"),
    pytest.param({"prompt_tokens": 10, "completion_tokens": 5}, Usage(10, output=5), id="without a total"),
    pytest.param(told(32, 3, prompt_tokens_details={"cached_tokens": 31}), Usage(1, cache_read=31, output=3), id="llama.cpp, CoreWeave"),
    pytest.param(told(10, 9, prompt_tokens_details=None, completion_tokens_details=None), Usage(10, output=9), id="vLLM without details"),
    pytest.param(
        told(
            2_006,
            300,
            prompt_tokens_details={"cached_tokens": 1_920, "audio_tokens": 0},
            completion_tokens_details={"reasoning_tokens": 256, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0},
        ),
        Usage(86, cache_read=1_920, output=44, reasoning=256),
        id="OpenAI, Azure, OCI, Cerebras",
    ),
    pytest.param(
        told(
            5_000,
            10,
            prompt_tokens_details={
                "cached_tokens": 1_000,
                "cache_write_tokens": 3_500,
                "cache_write_tokens_details": {"ttl_30m_tokens": 500, "ttl_12h_tokens": 3_000},
            },
        ),
        Usage(500, cache_read=1_000, output=10, cache_write_30m=500, cache_write_12h=3_000),
        id="OpenAI, cache writes by how long they are kept",
    ),
    pytest.param(
        told(100, 1, prompt_tokens_details={"cache_write_tokens": 90, "cache_write_tokens_details": {"ttl_30m_tokens": 60}}),
        Usage(10, cache_write=30, output=1, cache_write_30m=60),
        id="a part of the writes by how long they are kept",
    ),
    pytest.param(
        told(100, 1, prompt_tokens_details={"cache_write_tokens": 90, "cache_write_tokens_details": None}),
        Usage(10, cache_write=90, output=1),
        id="OpenRouter, cache writes",
    ),
    pytest.param(
        told(100, 1, cache_creation_input_tokens=40, prompt_tokens_details={"cached_tokens": 50}),
        Usage(10, cache_read=50, cache_write=40, output=1),
        id="LiteLLM before Anthropic",
    ),
    pytest.param(
        told(100, 1, prompt_tokens_details={"cached_tokens": 0, "cache_creation_input_tokens": 40}),
        Usage(60, cache_write=40, output=1),
        id="Qwen, cache writes",
    ),
    pytest.param(told(100, 1, cached_tokens=30), Usage(70, cache_read=30, output=1), id="Moonshot"),
    pytest.param(told(100, 1, num_cached_tokens=30), Usage(70, cache_read=30, output=1), id="Mistral"),
    pytest.param(
        told(100, 7, prompt_cache_hit_tokens=64, prompt_cache_miss_tokens=36, completion_tokens_details={"reasoning_tokens": 5}),
        Usage(36, cache_read=64, output=2, reasoning=5),
        id="DeepSeek",
    ),
    pytest.param(told(100, 7, reasoning_tokens=5, prompt_tokens_details=None), Usage(100, output=2, reasoning=5), id="SGLang"),
    pytest.param(
        told(10_120, 1_499, 14_428, prompt_tokens_details={"cached_tokens": 128}, completion_tokens_details={"reasoning_tokens": 2_809}),
        Usage(9_992, cache_read=128, output=1_499, reasoning=2_809),
        id="xAI counts thoughts beside the completion",
    ),
    pytest.param(told(10, 3, 113), Usage(10, output=3, reasoning=100), id="Gemini's thoughts are only in the total"),
    pytest.param(told(10, 3, 12), Usage(10, output=3), id="a total that is too small"),
    # what contradicts itself
    pytest.param(
        told(10, 1, 110, prompt_tokens_details={"cached_tokens": 99, "cache_write_tokens": 99}),
        Usage(0, cache_read=10, output=1),
        id="more read than there is",
    ),
    pytest.param(
        told(
            10, 1, prompt_tokens_details={"cache_write_tokens": 3, "cache_write_tokens_details": {"ttl_30m_tokens": 8, "ttl_12h_tokens": 7}}
        ),
        Usage(0, output=1, cache_write_30m=3, cache_write_12h=7),
        id="more written than there is",
    ),
    pytest.param(told(0, 9, completion_tokens_details={"reasoning_tokens": 99}), Usage(0, reasoning=9), id="more thought than said"),
    # sound and pictures
    pytest.param(
        told(
            100,
            50,
            prompt_tokens_details={"cached_tokens": 60, "audio_tokens": 10, "image_tokens": 20},
            completion_tokens_details={"audio_tokens": 30, "image_tokens": 5},
        ),
        Usage(10, 60, 0, 15, audio_in=10, image_in=20, audio_out=30, image_out=5),
        id="OpenAI, audio and images",
    ),
    pytest.param(
        told(
            100,
            50,
            prompt_tokens_details={"cached_tokens": 95, "audio_tokens": 10, "image_tokens": 20},
            completion_tokens_details={"audio_tokens": 90},
        ),
        Usage(0, 95, audio_in=5, audio_out=50),
        id="more told apart than there is",
    ),
    # what is no measurement
    pytest.param({}, None, id="nothing"),
    pytest.param(told(0, 0), None, id="zeros"),
    pytest.param({"prompt_tokens": None, "completion_tokens": None}, None, id="nulls"),
]


@pytest.mark.parametrize(("told", "usage"), USAGES)
def test_usage_is_made_disjoint(told, usage):
    assert read_answer(json.dumps({"choices": [], "usage": told, "model": "its", "service_tier": "flex"}).encode()) == (
        usage,
        "its",
        "flex",
    )
    reader = StreamReader(show_usage=False)
    reader.feed(b"data: " + json.dumps({"choices": None, "usage": told}).encode() + b"\n\ndata: [DONE]\n\n")
    assert reader.usage == usage


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


@pytest.mark.parametrize(("error", "words"), [(b'{"message":"too hot"}', "too hot"), (b'"too hot"', "too hot"), (b"{}", "an error.")])
def test_an_error_inside_of_a_good_status(error: bytes, words: str):
    with pytest.raises(UpstreamFailed, match=words):
        read_answer(b'{"error":%s}' % error)


SAYS = b'data: {"choices":[{"delta":{"content":"hi"}}],"usage":null}\n\n'
TELLS = b'data: {"choices":[],"model":"its","usage":{"prompt_tokens":3,"completion_tokens":1}}\n\n'
BOTH = b'data: {"choices":[{"delta":{}}],"usage":{"prompt_tokens":3,"completion_tokens":1}}\n\n'
GROQ = b'data: {"choices":[{"delta":{}}],"x_groq":{"usage":{"prompt_tokens":3,"completion_tokens":1}}}\n\n'
FILTERED = (
    b'data: {"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0,'
    b'"content_filter_results":{"hate":{"filtered":false},"jailbreak":{"error":{"code":"content_filter_error"}}}}],"usage":null}\n\n'
)
ZEROS = b'data: {"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0}}\n\n'
DONE = b"data: [DONE]\n\n"
PING = b": ping\n\n"
USED = Usage(3, output=1)

STREAMS = [
    # upstream says            shown   passes at once       held to the end  used
    (SAYS + TELLS + DONE, True, SAYS, TELLS + DONE, USED),
    (SAYS + TELLS + DONE, False, SAYS, DONE, USED),
    (SAYS + BOTH + DONE, False, SAYS + BOTH, DONE, USED),
    (SAYS + GROQ + DONE, False, SAYS + GROQ, DONE, USED),
    (FILTERED + SAYS + TELLS + DONE, False, FILTERED + SAYS, DONE, USED),
    (SAYS + TELLS + ZEROS + DONE, False, SAYS, DONE, USED),
    (SAYS + ZEROS + DONE, True, SAYS, ZEROS + DONE, None),
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


ERRORS = [
    # as it is said inside of a stream             what that is
    (b'{"error":{"message":"the GPU fell off"}}', UpstreamFailed),
    (b'{"error":{"message":"the GPU fell off","type":"InternalServerError","param":null,"code":500}}', UpstreamFailed),
    (b'{"error":"the GPU fell off","error_type":"generation"}', UpstreamFailed),
    (b'{"error":{"code":502,"message":"the GPU fell off"},"choices":[{"delta":{},"finish_reason":"error"}]}', UpstreamFailed),
    (b'{"error":{"code":429,"message":"the GPU fell off"}}', UpstreamOverloaded),
    (b'{"error":{"object":"error","message":"the GPU fell off","type":"BadRequestError","param":null,"code":400}}', UpstreamRefused),
    (b'{"object":"error","message":"the GPU fell off","type":"BadRequestError","param":null,"code":400}', UpstreamRefused),
]


@pytest.mark.parametrize(("error", "kind"), ERRORS)
def test_what_came_before_an_error_inside_of_a_stream_passes(error: bytes, kind: type[HeadraceError]):
    reader = StreamReader(show_usage=True)
    assert reader.feed(SAYS + b"data: " + error + b"\n\n" + DONE) == SAYS
    assert type(reader.failure) is kind
    assert reader.failure.message == "The upstream reported an error: the GPU fell off"


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
        gets(sent, "m")
