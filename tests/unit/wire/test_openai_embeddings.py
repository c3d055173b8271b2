"""Embeddings: the four forms of input, the answer's two codings, and the relay between two who speak the same."""

import base64
import json
from array import array

import pytest

from headrace.core.errors import HeadraceError, InvalidRequest, UnsupportedParameter, UpstreamFailed, UpstreamOverloaded
from headrace.core.usage import Usage
from headrace.wire.openai_embeddings import body_for, read_answer, read_request, write_answer


@pytest.mark.parametrize("given", ["a text", ["a", "b"], [1, 2], [[1, 2], [3]]])
def test_forms_of_input(given: object):
    assert read_request(json.dumps({"model": "m", "input": given}).encode()).input == given


REFUSED = [
    ({"model": "m"}, InvalidRequest, "input"),
    ({"model": "m", "input": None}, InvalidRequest, "input"),
    ({"model": "m", "input": "x", "encoding_format": "hex"}, InvalidRequest, "encoding_format"),
    ({"model": "m", "input": "x", "dimension": 3}, UnsupportedParameter, "dimension"),
]


@pytest.mark.parametrize(("sent", "kind", "param"), REFUSED)
def test_what_is_wrong_is_named(sent, kind, param):
    with pytest.raises(kind) as refused:
        read_request(json.dumps(sent).encode())
    assert refused.value.param == param


def test_the_upstreams_own_name_of_the_model():
    body = b'{"model":"ours","input":{"model":"ours"},"model":"ours"}'
    assert body_for(body, "ours", "ours") is body
    assert json.loads(body_for(body, "ours", "its")) == {"model": "its", "input": {"model": "ours"}}


ANSWERS = [
    (b'{"usage":{"prompt_tokens":7,"total_tokens":7},"model":"its"}', (Usage(7), "its")),
    (b'{"usage":{"prompt_tokens":null,"total_tokens":7},"model":"its"}', (Usage(7), "its")),
    (b'{"usage":{"prompt_tokens":0,"total_tokens":0}}', (None, None)),
    (b'{"usage":{}}', (None, None)),
    (b'{"data":[]}', (None, None)),
]


@pytest.mark.parametrize(("body", "read"), ANSWERS)
def test_what_an_upstream_used(body, read):
    assert read_answer(body) == read


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"usage":7}', b'{"usage":{"prompt_tokens":-7}}', b'{"model":"\xff"}'])
def test_what_is_no_answer_is_the_upstreams_failure(body: bytes):
    with pytest.raises(UpstreamFailed, match="not a list of embeddings"):
        read_answer(body)


@pytest.mark.parametrize(("error", "kind"), [(b'{"message":"hot"}', UpstreamFailed), (b'{"message":"hot","code":429}', UpstreamOverloaded)])
def test_an_error_inside_of_a_good_status(error: bytes, kind: type[HeadraceError]):
    with pytest.raises(kind, match="hot"):
        read_answer(b'{"error":%b}' % error)


def test_the_answers_two_codings_hold_the_same():
    vectors = [array("f", [0.5, -1.0]).tobytes(), array("f", [0.25, 2.0]).tobytes()]
    floats = json.loads(write_answer(model="m", vectors=vectors, tokens=3, encoding_format="float"))
    packed = json.loads(write_answer(model="m", vectors=vectors, tokens=3, encoding_format="base64"))
    assert floats == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.5, -1.0]},
            {"object": "embedding", "index": 1, "embedding": [0.25, 2.0]},
        ],
        "model": "m",
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
    assert [base64.b64decode(one["embedding"]) for one in packed["data"]] == vectors
