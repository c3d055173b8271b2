"""Whatever an upstream sends when it fails, it is understood as a failure with a cause."""

import json

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from headrace.core.errors import HeadraceError, Side, UpstreamRefused
from headrace.wire.openai_failure import failure_for, reported

NAMES = st.sampled_from(["error", "message", "detail", "errors", "msg", "loc", "code", "type", "param", "status", "metadata", "raw", "x"])
TEXTS = st.text(max_size=20) | st.sampled_from(
    ["429", "context length", "rate_limit", "try again in 5s", "<title>x</title>", "try again in 9s,"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
BODIES = (
    st.binary(max_size=60) | JSON.map(lambda said: json.dumps(said).encode()) | JSON.map(lambda said: json.dumps({"error": said}).encode())
)
HEADERS = st.dictionaries(
    st.sampled_from([b"retry-after", b"retry-after-ms", b"date", b"location"]),
    st.binary(max_size=20) | st.sampled_from([b"Sun, 06 Nov 1994 08:49:37 GMT", b"5", b"1e400", b"Sun, 06 Nov 9999 08:49:37 +2359"]),
)


@given(status=st.integers(100, 999).filter(lambda status: status != 200), headers=HEADERS, body=BODIES)
@example(status=429, headers={}, body=b'{"message":"retry after ' + b"9" * 400 + b's"}')
@example(status=400, headers={b"location": b"\xff"}, body=b"")
def test_every_answer_has_a_meaning(status: int, headers: dict[bytes, bytes], body: bytes):
    check(failure_for(status, headers, body, "a"), f"a answered {status}")


@given(body=BODIES)
def test_every_report_has_a_meaning(body: bytes):
    check(reported(body), "The upstream reported an error")


def check(failure: HeadraceError, begins: str) -> None:
    assert failure.side is Side.UPSTREAM
    assert failure.message.startswith(begins)
    assert failure.retry_after_ms is None or failure.retry_after_ms >= 0
    if isinstance(failure, UpstreamRefused):
        assert 400 <= failure.status < 500
        error = msgspec.json.decode(failure.body)["error"]
        assert isinstance(error["message"], str)
