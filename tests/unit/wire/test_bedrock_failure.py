"""What Bedrock's failures mean, by the name that AWS gives them and by their status."""

import json

import pytest

from headrace.core.errors import HeadraceError, UpstreamFailed, UpstreamOverloaded, UpstreamRefused, UpstreamTimedOut
from headrace.wire.bedrock_failure import WORDS_MAX, failure_for, lacks_permission

CHECK_CREDENTIALS = "check the pool's credentials"
CHECK_NAMES = "check the pool's endpoints"


def said(message: str) -> bytes:
    return json.dumps({"message": message}).encode()


TABLE: list[tuple[int, bytes, bytes, type[HeadraceError], str]] = [
    # status  x-amzn-errortype          body                    means               in these words
    (
        429,
        b"ThrottlingException:http://internal.amazon.com/",
        said("Too many requests"),
        UpstreamOverloaded,
        "b answered 429: Too many requests",
    ),
    (400, b"ThrottlingException", said("Rate exceeded"), UpstreamOverloaded, "Rate exceeded"),
    (400, b"ServiceQuotaExceededException", said("quota"), UpstreamOverloaded, "quota"),
    (429, b"ModelNotReadyException", said("warming up"), UpstreamOverloaded, "warming up"),
    (429, b"", b"", UpstreamOverloaded, "b answered 429."),
    (503, b"ServiceUnavailableException", said("busy"), UpstreamOverloaded, "busy"),
    (503, b"", b"<html>", UpstreamOverloaded, "b answered 503."),
    (529, b"", b"", UpstreamOverloaded, "b answered 529."),
    (408, b"ModelTimeoutException", said("slow"), UpstreamTimedOut, "slow"),
    (408, b"", b"", UpstreamTimedOut, "b answered 408."),
    (424, b"ModelErrorException", said("broke"), UpstreamFailed, "broke"),
    (424, b"", b"", UpstreamFailed, "b answered 424."),
    (500, b"InternalServerException", said("oh"), UpstreamFailed, "b answered 500: oh"),
    (502, b"", b"", UpstreamFailed, "b answered 502."),
    (302, b"", b"", UpstreamFailed, "b answered 302."),
    (201, b"", b"{}", UpstreamFailed, "b answered 201."),
    (403, b"AccessDeniedException", said("You don't have access to the model."), UpstreamFailed, CHECK_CREDENTIALS),
    (403, b"", b'{"Message":"Authentication failed"}', UpstreamFailed, f"b answered 403: Authentication failed \\({CHECK_CREDENTIALS}"),
    (
        403,
        b"",
        b'{"__type":"com.amazon.coral.service#UnrecognizedClientException","message":"bad token"}',
        UpstreamFailed,
        CHECK_CREDENTIALS,
    ),
    (400, b"ExpiredTokenException", said("expired"), UpstreamFailed, CHECK_CREDENTIALS),
    (400, b"", b'{"code":"InvalidSignatureException","message":"no"}', UpstreamFailed, CHECK_CREDENTIALS),
    (401, b"", b"", UpstreamFailed, CHECK_CREDENTIALS),
    (404, b"ResourceNotFoundException", said("no model"), UpstreamFailed, CHECK_NAMES),
    (400, b"ResourceNotFoundException", said("no model"), UpstreamFailed, CHECK_NAMES),
    (404, b"", b"", UpstreamFailed, CHECK_NAMES),
    (405, b"", b"", UpstreamFailed, CHECK_NAMES),
    (400, b"ValidationException", said("The provided model identifier is invalid."), UpstreamFailed, CHECK_NAMES),
    (400, b"ValidationException", said("Invocation of model ID x with on-demand throughput isn't supported."), UpstreamFailed, CHECK_NAMES),
    (400, b"ValidationException", said("messages.0 is blank"), UpstreamRefused, "b answered 400: messages.0 is blank"),
    (400, b"ValidationException", b'{"message":"\xff"}', UpstreamRefused, "b answered 400."),
    (413, b"RequestEntityTooLargeException", said("too large"), UpstreamRefused, "b answered 413: too large"),
    (422, b"", b"[" * 5_000, UpstreamRefused, "b answered 422."),
]


@pytest.mark.parametrize(("status", "kind", "body", "means", "words"), TABLE)
def test_what_a_failure_means(status: int, kind: bytes, body: bytes, means: type[HeadraceError], words: str):
    failure = failure_for(status, {b"x-amzn-errortype": kind} if kind else {}, body, "b")
    assert type(failure) is means
    with pytest.raises(means, match=words):
        raise failure


WAITS = [
    ({b"retry-after": b"2"}, 2_000),
    ({b"retry-after-ms": b"1500", b"retry-after": b"9"}, 1_500),
    ({b"retry-after": b"-7"}, 0),
    ({b"retry-after": b"inf"}, None),
    ({b"retry-after": b"Fri, 31 Dec 1999 23:59:59 GMT"}, None),
    ({}, None),
]


@pytest.mark.parametrize(("headers", "wait_ms"), WAITS)
def test_how_long_to_wait(headers: dict[bytes, bytes], wait_ms: int | None):
    assert failure_for(429, headers, b"", "b").retry_after_ms == wait_ms


def test_a_refusal_is_in_the_clients_form():
    refused = failure_for(400, {}, said("messages.0 is blank"), "b")
    assert isinstance(refused, UpstreamRefused)
    assert (refused.status, json.loads(refused.body)) == (
        400,
        {"error": {"message": "messages.0 is blank", "type": "invalid_request_error", "param": None, "code": None}},
    )
    wordless = failure_for(400, {}, b"", "b")
    assert isinstance(wordless, UpstreamRefused)
    assert json.loads(wordless.body)["error"]["message"] == "The upstream refused the request without saying why."


@pytest.mark.parametrize(
    "words",
    [
        "Input is too long for requested model.",
        "The model returned the following errors: prompt is too long: 213462 tokens > 200000 maximum",
        "Too many input tokens.",
    ],
)
def test_a_prompt_that_is_too_long_is_told_as_openai_tells_it(words: str):
    refused = failure_for(400, {b"x-amzn-errortype": b"ValidationException"}, said(words), "b")
    assert isinstance(refused, UpstreamRefused)
    error = json.loads(refused.body)["error"]
    assert (error["code"], error["param"]) == ("context_length_exceeded", "messages")


def test_words_have_a_limit():
    refused = failure_for(400, {}, said("x" * 10_000), "b")
    assert isinstance(refused, UpstreamRefused)
    assert len(json.loads(refused.body)["error"]["message"]) == WORDS_MAX


def test_who_lacks_only_a_permission():
    assert lacks_permission(said("User: arn:aws:iam::1:user/u is not authorized to perform: bedrock:ListAsyncInvokes on resource: *"))
    assert lacks_permission(b'{"Message":"it is not authorized to perform: bedrock:ListAsyncInvokes"}')
    assert not lacks_permission(said("The security token included in the request is invalid."))
    assert not lacks_permission(b"")
