"""What each of Anthropic's errors means."""

import json
from datetime import UTC, datetime

import pytest

from headrace.core.errors import HeadraceError, UpstreamFailed, UpstreamOverloaded, UpstreamRefused, UpstreamTimedOut
from headrace.testing.clock import NOON
from headrace.wire.anthropic_failure import WORDS_MAX, failure_for, failure_in_stream


def body(type: str, message: str, **more: object) -> bytes:
    return json.dumps({"type": "error", "error": {"type": type, "message": message, **more}, "request_id": "req_1"}).encode()


def on_hold(code: str) -> bytes:
    return body("invalid_request_error", "no", details={"error_code": code})


MEANINGS: list[tuple[int, bytes, type[HeadraceError], str]] = [
    (529, body("overloaded_error", "Overloaded"), UpstreamOverloaded, "a answered 529: Overloaded"),
    (503, b"<html>", UpstreamOverloaded, "a answered 503."),
    (429, body("rate_limit_error", "Slow down."), UpstreamOverloaded, "a answered 429: Slow down."),
    (500, body("api_error", "Internal"), UpstreamFailed, "a answered 500: Internal"),
    (502, b'{"error": "bad"}', UpstreamFailed, "a answered 502: bad"),
    (500, b'{"message": "oh"}', UpstreamFailed, "a answered 500: oh"),
    (504, body("timeout_error", "Too long"), UpstreamTimedOut, "a answered 504: Too long"),
    (408, b"", UpstreamTimedOut, "a answered 408."),
    (409, b"{}", UpstreamFailed, "a answered 409."),
    (302, b"", UpstreamFailed, "a answered 302."),
    (401, body("authentication_error", "invalid x-api-key"), UpstreamFailed, "invalid x-api-key (check the pool's key)."),
    (402, body("billing_error", "Pay."), UpstreamFailed, "Pay (the pool's account has no credit)."),
    (403, body("permission_error", "No."), UpstreamFailed, "No (check what the pool's key may do)."),
    (404, body("not_found_error", "model: x"), UpstreamFailed, "model: x (check the pool's endpoints and its models' names)."),
    (405, b"\xff", UpstreamFailed, "a answered 405 (check the pool's endpoints)."),
    (400, body("invalid_request_error", "Your credit balance is too low."), UpstreamFailed, "(check the pool's account)."),
    (
        400,
        body("invalid_request_error", "You have reached your specified API usage limits."),
        UpstreamFailed,
        "(check the pool's account).",
    ),
    (400, on_hold("organization_on_hold"), UpstreamFailed, "(check the pool's account)."),
    (400, on_hold("image_dimensions_too_large"), UpstreamRefused, "a answered 400: no"),
    (400, body("invalid_request_error", "max_tokens: too large"), UpstreamRefused, "a answered 400: max_tokens: too large"),
    (413, body("request_too_large", "Too large"), UpstreamRefused, "a answered 413: Too large"),
    (422, b"{}", UpstreamRefused, "a answered 422."),
]


@pytest.mark.parametrize(("status", "told", "kind", "words"), MEANINGS)
def test_what_an_answer_means(status: int, told: bytes, kind: type[HeadraceError], words: str):
    failure = failure_for(status, {}, told, "a", now=NOON)
    assert type(failure) is kind
    assert words in failure.message
    assert failure.retry_after_ms is None


@pytest.mark.parametrize(("status", "told", "kind", "words"), [case for case in MEANINGS if case[2] is UpstreamRefused])
def test_the_client_reads_the_vendors_words_in_openais_form(status, told, kind, words):
    refused = failure_for(status, {}, told, "a", now=NOON)
    assert isinstance(refused, UpstreamRefused)
    assert refused.status == status
    error = json.loads(refused.body)["error"]
    assert error == {"message": error["message"], "type": "invalid_request_error", "param": None, "code": None}
    assert error["message"] in refused.message


@pytest.mark.parametrize(
    "words", ["prompt is too long: 9 tokens > 8 maximum", "input length and `max_tokens` exceed context limit: 9 + 8 > 8"]
)
@pytest.mark.parametrize("status", [400, 413])
def test_a_prompt_that_is_too_long_is_told_in_openais_words(status: int, words: str):
    refused = failure_for(status, {}, body("invalid_request_error", words), "a", now=NOON)
    assert isinstance(refused, UpstreamRefused)
    assert refused.status == 400
    error = json.loads(refused.body)["error"]
    assert (error["message"], error["param"], error["code"]) == (words, "messages", "context_length_exceeded")


def test_words_are_not_repeated_without_end():
    assert len(failure_for(400, {}, body("invalid_request_error", "x" * 9_999), "a", now=NOON).message) < WORDS_MAX + 50


def reset(limit: str, left: int, at: str) -> dict[bytes, bytes]:
    return {f"anthropic-ratelimit-{limit}-remaining".encode(): b"%d" % left, f"anthropic-ratelimit-{limit}-reset".encode(): at.encode()}


def after(seconds: int) -> str:
    return datetime.fromtimestamp(NOON // 10**9 + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


WAITS: list[tuple[dict[bytes, bytes], int | None]] = [
    ({}, None),
    ({b"retry-after": b"2"}, 2_000),
    ({b"retry-after": b"2", b"retry-after-ms": b"1500"}, 1_500),
    ({b"retry-after": b"-2"}, 0),
    ({b"retry-after": b"inf"}, None),
    ({b"retry-after": b"Fri, 31 Dec 1999 23:59:59 GMT"}, None),
    (reset("requests", 0, after(7)), 7_000),
    (reset("requests", 0, after(-7)), 0),
    (reset("requests", 1, after(7)), None),
    (reset("requests", 0, after(7)) | reset("input-tokens", 0, after(9)) | reset("output-tokens", 5, after(11)), 9_000),
    (reset("tokens", 0, "soon") | reset("requests", 0, after(3)), 3_000),
    (reset("tokens", 0, "2026-11-18T12:00:09"), None),
    ({b"anthropic-ratelimit-tokens-remaining": b"0"}, None),
    (reset("requests", 0, after(7)) | {b"retry-after": b"2"}, 2_000),
]


@pytest.mark.parametrize(("headers", "retry_after_ms"), WAITS)
def test_how_long_to_wait(headers: dict[bytes, bytes], retry_after_ms: int | None):
    assert failure_for(429, headers, b"", "a", now=NOON).retry_after_ms == retry_after_ms


def test_a_reset_that_is_no_text():
    headers = {b"anthropic-ratelimit-tokens-remaining": b"0", b"anthropic-ratelimit-tokens-reset": b"\xff"}
    assert failure_for(429, headers, b"", "a", now=NOON).retry_after_ms is None


IN_STREAM = [
    ("overloaded_error", UpstreamOverloaded),
    ("rate_limit_error", UpstreamOverloaded),
    ("api_error", UpstreamFailed),
    ("timeout_error", UpstreamTimedOut),
    ("authentication_error", UpstreamFailed),
    ("invalid_request_error", UpstreamRefused),
    ("a_new_error", UpstreamFailed),
]


@pytest.mark.parametrize(("type", "kind"), IN_STREAM)
def test_errors_inside_of_a_stream(type: str, kind: type[HeadraceError]):
    failure = failure_in_stream(body(type, "words"))
    assert failure.__class__ is kind
    assert failure.message.startswith("The upstream reported an error in its stream: words")


def test_an_error_that_says_nothing():
    assert failure_in_stream(b'{"type": "error"}').message == "The upstream reported an error in its stream."
