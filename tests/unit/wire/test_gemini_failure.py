"""What each error of Google means: whose it is, and whether to try again."""

import json

import pytest

from headrace.core.errors import HeadraceError, UpstreamFailed, UpstreamOverloaded, UpstreamRefused, UpstreamTimedOut
from headrace.wire.gemini_failure import WORDS_MAX, failure_for


def told(code: int, status: str, message: str, *details: dict[str, object]) -> bytes:
    return json.dumps({"error": {"code": code, "message": message, "status": status, "details": list(details)}}).encode()


def retry(delay: object) -> dict[str, object]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


QUOTA: dict[str, object] = {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaValue": "10"}]}
KEY: dict[str, object] = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
RESOURCE = ("RESOURCE_EXHAUSTED", "You exceeded your current quota.")

FAILURES: list[tuple[int, dict[bytes, bytes], bytes, type[HeadraceError], int | None, str]] = [
    # status, headers, body, what it means, when to try again, its words
    (429, {}, told(429, *RESOURCE, QUOTA, retry("34s")), UpstreamOverloaded, 34_000, "g answered 429: You exceeded your current quota."),
    (429, {b"retry-after": b"2"}, told(429, *RESOURCE, retry("0.25s")), UpstreamOverloaded, 250, "g answered 429"),
    (429, {b"retry-after": b"2"}, told(429, *RESOURCE, QUOTA), UpstreamOverloaded, 2_000, "g answered 429"),
    (429, {b"retry-after": b"2"}, told(429, *RESOURCE, retry("soon")), UpstreamOverloaded, 2_000, "g answered 429"),
    (429, {}, b"[" + told(429, *RESOURCE, retry("1.5s")) + b"]", UpstreamOverloaded, 1_500, "g answered 429: You exceeded"),
    (429, {}, told(429, *RESOURCE, retry("-1s")), UpstreamOverloaded, 0, "g answered 429"),
    (429, {}, told(429, *RESOURCE, retry("infs")), UpstreamOverloaded, None, "g answered 429"),
    (429, {}, told(429, *RESOURCE, retry(7)), UpstreamOverloaded, None, "g answered 429."),
    (503, {}, told(503, "UNAVAILABLE", "The model is overloaded."), UpstreamOverloaded, None, "g answered 503: The model is overloaded."),
    (503, {b"retry-after": b"Fri, 31 Dec 1999 23:59:59 GMT"}, b"<html>", UpstreamOverloaded, None, "g answered 503."),
    (504, {}, told(504, "DEADLINE_EXCEEDED", "Deadline expired."), UpstreamTimedOut, None, "g answered 504: Deadline expired."),
    (500, {}, told(500, "INTERNAL", "An internal error."), UpstreamFailed, None, "g answered 500: An internal error."),
    (502, {}, b"\xff", UpstreamFailed, None, "g answered 502."),
    (500, {}, b"[]", UpstreamFailed, None, "g answered 500."),
    (500, {}, b'{"error":' + b"[" * 100_000, UpstreamFailed, None, "g answered 500."),
    (302, {}, b"", UpstreamFailed, None, "g answered 302."),
    (401, {}, told(401, "UNAUTHENTICATED", "No."), UpstreamFailed, None, "g answered 401: No (check the pool's key)."),
    (403, {}, told(403, "PERMISSION_DENIED", "No."), UpstreamFailed, None, "g answered 403: No (check what the pool's key may do)."),
    (404, {}, told(404, "NOT_FOUND", "models/x is not found"), UpstreamFailed, None, "models' names"),
    (405, {}, b"", UpstreamFailed, None, "g answered 405 (check the pool's endpoints)."),
    (400, {}, told(400, "INVALID_ARGUMENT", "Bad.", KEY), UpstreamFailed, None, "g answered 400: Bad (check the pool's key)."),
    (400, {}, told(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."), UpstreamFailed, None, "the pool's key"),
    (400, {}, told(400, "FAILED_PRECONDITION", "User location is not supported."), UpstreamFailed, None, "billed"),
    (400, {}, told(400, "INVALID_ARGUMENT", "Bad."), UpstreamRefused, None, "g answered 400: Bad."),
    (413, {}, b"too much", UpstreamRefused, None, "g answered 413."),
]


@pytest.mark.parametrize(("status", "headers", "body", "kind", "retry_after_ms", "words"), FAILURES)
def test_what_an_error_means(
    status: int, headers: dict[bytes, bytes], body: bytes, kind: type[HeadraceError], retry_after_ms: int | None, words: str
):
    failure = failure_for(status, headers, body, "g")
    assert type(failure) is kind
    assert failure.retry_after_ms == retry_after_ms
    assert words in str(failure)


REFUSALS = [
    (told(400, "INVALID_ARGUMENT", "Bad."), "Bad.", "invalid_argument"),
    (
        told(400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum number of tokens allowed (8)."),
        "The input token count (9) exceeds the maximum number of tokens allowed (8).",
        "context_length_exceeded",
    ),
    (b"?", "The upstream refused the request without saying why.", None),
    (told(400, "OUT_OF_RANGE", "x" * 9_999), "x" * WORDS_MAX, "out_of_range"),
]


@pytest.mark.parametrize(("body", "message", "code"), REFUSALS)
def test_what_the_client_reads(body: bytes, message: str, code: str | None):
    failure = failure_for(400, {}, body, "g")
    assert isinstance(failure, UpstreamRefused)
    assert failure.status == 400
    assert json.loads(failure.body) == {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
