"""The request as values: what is read, and what is refused with the field's name."""

import msgspec
import pytest

from headrace.core.errors import InvalidJson, InvalidRequest, UnsupportedParameter
from headrace.wire.openai_chat import ImagePart, JsonSchemaFormat, NamedTool, TextPart, read, read_head, read_request

HEAD = {"model": "m", "messages": []}


def body(**fields: object) -> bytes:
    return msgspec.json.encode(HEAD | fields)


def test_the_head_is_what_admission_needs():
    head = read_head(body(stream=True, stream_options={"include_usage": True}, n=2, max_tokens=5, temperature="not looked at"))
    assert (head.model, head.stream, head.n, head.max_tokens, head.max_completion_tokens) == ("m", True, 2, 5, None)
    assert head.stream_options is not None
    assert head.stream_options.include_usage
    assert bytes(head.messages) == b"[]"


def test_a_whole_request():
    request = read_request(
        body(
            messages=[
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": [{"type": "text", "text": "what is it"}, {"type": "image_url", "image_url": {"url": "data:"}}]},
                {"role": "assistant", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": "c", "content": "7"},
            ],
            tool_choice={"type": "function", "function": {"name": "f"}},
            response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}},
            stop=["a", "b"],
            temperature=1,
        )
    )
    user = request.messages[1].content
    assert isinstance(user, list)
    assert [type(part) for part in user] == [TextPart, ImagePart]
    assert isinstance(request.tool_choice, NamedTool)
    assert isinstance(request.response_format, JsonSchemaFormat)
    assert request.stop == ["a", "b"]


REFUSED = [
    # body, kind, parameter, what the client reads
    (b"", InvalidJson, None, "not valid JSON"),
    (b"{", InvalidJson, None, "not valid JSON"),
    (b'{"model": "m", "messages": []} x', InvalidJson, None, "not valid JSON"),
    (b'{"model": "\xff", "messages": []}', InvalidJson, None, "not valid JSON"),
    (b"[]", InvalidRequest, None, "must be a JSON object: expected `object`, got `array`"),
    (b'"m"', InvalidRequest, None, "must be a JSON object"),
    (b"{}", InvalidRequest, "model", "Missing required parameter: 'model'."),
    (b'{"model": "m"}', InvalidRequest, "messages", "Missing required parameter: 'messages'."),
    (b'{"model": 1, "messages": []}', InvalidRequest, "model", "Invalid value for 'model': expected `str`, got `int`."),
    (body(stream="yes"), InvalidRequest, "stream", "Invalid value for 'stream'"),
    (body(stream_options=[]), InvalidRequest, "stream_options", "Invalid value for 'stream_options'"),
    (body(messages=[{"content": "x"}]), InvalidRequest, "messages[0].role", "Missing required parameter: 'messages[0].role'."),
    (body(messages=[{"role": "king", "content": "x"}]), InvalidRequest, "messages[0].role", "Invalid value for 'messages[0].role'"),
    (body(messages=[{"role": "user", "content": 5}]), InvalidRequest, "messages[0].content", "Invalid value for 'messages[0].content'"),
    (body(temprature=1), UnsupportedParameter, "temprature", "Unrecognized request argument supplied: temprature"),
    (body(tool_choice="maybe"), InvalidRequest, "tool_choice", "Invalid value for 'tool_choice'"),
    (body(metadata={"a": 1}), InvalidRequest, "metadata[]", "Invalid value for 'metadata[]'"),
]


@pytest.mark.parametrize(("sent", "kind", "param", "words"), REFUSED)
def test_what_is_wrong_is_named(sent: bytes, kind: type[InvalidRequest], param: str | None, words: str):
    with pytest.raises(InvalidRequest) as refused:
        read_request(sent)
    assert (type(refused.value), refused.value.param) == (kind, param)
    assert words in str(refused.value)


def test_an_unknown_field_inside_is_named_with_its_path():
    # No struct of the request refuses unknown fields below the top: clients send more than OpenAI documents. The path is kept all the same.
    class Inner(msgspec.Struct, forbid_unknown_fields=True):
        a: int = 0

    class Outer(msgspec.Struct):
        inner: Inner

    with pytest.raises(UnsupportedParameter) as refused:
        read(msgspec.json.Decoder(Outer), b'{"inner": {"b": 1}}')
    assert refused.value.param == "inner.b"


@pytest.mark.parametrize("open_brackets", [b"[", b'{"a":'])
def test_deep_nesting_is_refused_and_does_not_break_us(open_brackets: bytes):
    with pytest.raises(InvalidJson):
        read_request(b'{"model":"m","messages":[],"audio":{"a":' + open_brackets * 100_000)
