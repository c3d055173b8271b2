"""What an answer means that is none: forms and statuses as servers of OpenAI's dialect send them, as tables."""

import json

import pytest

from headrace.core.errors import HeadraceError, UpstreamFailed, UpstreamOverloaded, UpstreamRefused, UpstreamTimedOut
from headrace.wire.openai_failure import failure_for, reported, retry_after_ms

STATUSES = [
    (400, UpstreamRefused),
    (401, UpstreamFailed),
    (402, UpstreamFailed),
    (403, UpstreamFailed),
    (404, UpstreamFailed),
    (405, UpstreamFailed),
    (407, UpstreamFailed),
    (408, UpstreamTimedOut),
    (409, UpstreamFailed),
    (410, UpstreamRefused),
    (413, UpstreamRefused),
    (415, UpstreamRefused),
    (421, UpstreamFailed),
    (422, UpstreamRefused),
    (424, UpstreamFailed),
    (425, UpstreamFailed),
    (429, UpstreamOverloaded),
    (451, UpstreamRefused),
    (498, UpstreamOverloaded),
    (500, UpstreamFailed),
    (501, UpstreamFailed),
    (502, UpstreamFailed),
    (503, UpstreamOverloaded),
    (504, UpstreamTimedOut),
    (524, UpstreamTimedOut),
    (529, UpstreamOverloaded),
    (204, UpstreamFailed),
    (307, UpstreamFailed),
]


@pytest.mark.parametrize(("status", "kind"), STATUSES)
def test_what_a_status_means(status: int, kind: type[HeadraceError]):
    failure = failure_for(status, {}, b"", "a")
    assert type(failure) is kind
    assert failure.message.startswith(f"a answered {status}")
    assert failure.message.endswith((".", ")."))
    assert failure.retryable is not isinstance(failure, UpstreamRefused)


WORDS = [
    # the body as it comes                                                          the words in it
    (b'{"error":{"message":"too hot","type":"x","param":null,"code":null}}', ": too hot"),
    (b'{"error":{"message":{"detail":"too hot"}}}', ": too hot"),
    (b'{"error":"too hot","error_type":"generation"}', ": too hot"),
    (b'{"object":"error","message":"too hot","type":"x","code":500}', ": too hot"),
    (b'{"code":"InternalError","message":"too hot"}', ": too hot"),
    (b'{"statusCode":500,"message":"too hot"}', ": too hot"),
    (b'{"detail":"too hot"}', ": too hot"),
    (b'{"detail":[{"loc":["body","messages",0],"msg":"too hot"},{"msg":"and wet"}]}', ": messages.0: too hot; and wet"),
    (b'{"object":"error","message":{"detail":[{"loc":["body","n"],"msg":"too hot"}]}}', ": n: too hot"),
    (b'{"errors":[{"message":"too hot"},{}]}', ": too hot"),
    (b'[{"error":{"code":500,"message":"too hot","status":"INTERNAL"}}]', ": too hot"),
    (
        b'{"error":{"message":"Provider returned error","metadata":{"raw":"too hot","provider_name":"x"}}}',
        ": Provider returned error (too hot)",
    ),
    (b'{"error":{"message":"too hot","metadata":{"raw":7}}}', ": too hot"),
    (b'{"Message":"too hot"}', ": too hot"),
    (b'"too hot"', ": too hot"),
    (b"too\nhot", ": too hot"),
    (b"<html><head><TITLE>502 Bad\n Gateway</TITLE></head><body>nginx</body></html>", ": 502 Bad Gateway"),
    (b"<html>", "."),
    (b"{", "."),
    (b"[]", "."),
    (b"7", "."),
    (b"\x00\x01", "."),
    (b'{"message":"\xff"}', "."),
    (b'{"error":' + b"[" * 100_000, "."),
    (b'{"error":{"message":"%b"}}' % (b"h" * 9_000), ": " + "h" * 2_000),
]


@pytest.mark.parametrize(("body", "words"), WORDS, ids=lambda one: repr(one)[:40])
def test_words_are_found_in_whatever_form_they_come(body: bytes, words: str):
    assert failure_for(500, {}, body, "a").message == f"a answered 500{words}"


def test_where_a_redirect_leads():
    failure = failure_for(308, {b"location": b"https://other/v1"}, b"", "a")
    assert failure.message == "a answered 308: it redirects to https://other/v1"


CONFIGURED_WRONG = [
    (401, b'{"error":{"message":"no"}}', "a answered 401: no (check the pool's key)."),
    (403, b'{"error":{"message":"no."}}', "a answered 403: no (check what the pool's key may do)."),
    (402, b'{"error":{"message":"Insufficient Balance"}}', "a answered 402: Insufficient Balance (the pool's account has no credit)."),
    (
        404,
        b'{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","code":404}}',
        "a answered 404: The model `x` does not exist (check the pool's endpoints and its models' names).",
    ),
    (
        404,
        b'{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}',
        "a answered 404: The API deployment for this resource does not exist (check the pool's endpoints and its models' names).",
    ),
    # the same under statuses that would blame the client
    (
        400,
        b'{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***. You can obtain one."}',
        "(check the pool's key).",
    ),
    (400, b'[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key."}}]', "(check the pool's key)."),
    (400, b'{"error":{"message":"no","code":"invalid_api_key"}}', "(check the pool's key)."),
    (400, b'{"error":{"message":"Model Not Exist","type":"invalid_request_error"}}', "its models' names)."),
    (400, b'{"error":{"message":"foo/bar is not a valid model ID","code":400}}', "its models' names)."),
    (400, b'{"object":"error","message":"Invalid model: foo","type":"invalid_model","code":"1500"}', "its models' names)."),
    (400, b'{"error":{"message":"no","code":"model_not_found"}}', "its models' names)."),
    (429, b'{"error":{"message":"You exceeded your current quota","type":"x","code":"insufficient_quota"}}', "has no credit)."),
    (400, b'{"error":{"message":"hard limit","code":"billing_hard_limit_reached"}}', "has no credit)."),
]


@pytest.mark.parametrize(("status", "body", "said"), CONFIGURED_WRONG)
def test_what_blames_our_settings_is_not_the_clients(status: int, body: bytes, said: str):
    failure = failure_for(status, {}, body, "a")
    assert type(failure) is UpstreamFailed
    assert failure.message.endswith(said)


OVERLOADED = [
    (413, b'{"error":{"message":"Request too large for model on tokens per minute","type":"tokens","code":"rate_limit_exceeded"}}'),
    (400, b'{"error":{"message":"slow","type":"rate_limit_error"}}'),
    (500, b'{"error":{"message":"slow","type":"overloaded_error"}}'),
]


@pytest.mark.parametrize(("status", "body"), OVERLOADED)
def test_a_limit_is_a_limit_under_any_status(status: int, body: bytes):
    assert type(failure_for(status, {}, body, "a")) is UpstreamOverloaded


TOO_LONG = [
    "This model's maximum context length is 4096 tokens. However, you requested 6031 tokens in the messages.",
    "request (6031 tokens) exceeds the available context size (2048 tokens), try increasing it",
    "The input (6031 tokens) is longer than the model's context length (4096 tokens).",
    "The decoder prompt (length 6031) is longer than the maximum model length of 4096.",
    "400 Bad Request: prompt too long; exceeded max context length by 263 tokens",
    "Input validation error: `inputs` must have less than 4096 tokens. Given: 6031",
    "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 6031 `inputs` tokens",
    "The input token count (6031) exceeds the maximum number of tokens allowed (4096).",
    "prompt is too long: 210028 tokens > 200000 maximum",
    "Range of input length should be [1, 30720]",
]


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("words", TOO_LONG)
@pytest.mark.parametrize("wrapped", [True, False])
def test_a_context_that_is_too_long_is_told_as_openai_tells_it(status: int, words: str, *, wrapped: bool):
    """Agents wait for this code to make their history shorter."""
    body = json.dumps({"error": {"message": words, "type": "BadRequestError", "code": status}} if wrapped else {"message": words})
    refused = failure_for(status, {}, body.encode(), "a")
    assert isinstance(refused, UpstreamRefused)
    assert refused.status == 400
    assert json.loads(refused.body) == {
        "error": {"message": words, "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}
    }


REFUSED = [
    # status, the vendor's body, and what of it the client gets: None for all of it as it came
    (400, b'{"error": {"message":"max_tokens is too large","type":"x","param":"max_tokens","code":null}}', None),
    (400, b'{"error":{"message":"long","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}', None),
    (
        400,
        b'{"error":{"message":"The response was filtered","type":null,"param":"prompt","code":"content_filter","status":400,'
        b'"innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{"violence":{"filtered":true}}}}}',
        None,
    ),
    (403, b'{"error":{"code":403,"message":"flagged","metadata":{"reasons":["x"],"flagged_input":"y"}}}', None),
    (422, b'{"error":"Input validation error: `temperature` must be strictly positive","error_type":"validation"}', "strictly positive"),
    (422, b'{"detail":[{"loc":["body","messages"],"msg":"Field required"}]}', "messages: Field required"),
    (422, b"Failed to deserialize the JSON body", "Failed to deserialize"),
    (400, b'{"object":"error","message":"no","type":"BadRequestError","param":"n","code":400}', "no"),
    (413, b"<html><head><title>413 Request Entity Too Large</title></head></html>", "413 Request Entity Too Large"),
    (400, b"", "without saying why"),
]


@pytest.mark.parametrize(("status", "body", "words"), REFUSED)
def test_who_is_refused_reads_the_vendors_words_in_openais_form(status: int, body: bytes, words: str | None):
    refused = failure_for(status, {}, body, "a")
    assert isinstance(refused, UpstreamRefused)
    assert refused.status == status
    if words is None:
        assert refused.body == body
    else:
        error = json.loads(refused.body)["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        assert words in error["message"]


def test_a_field_at_fault_is_named_also_where_the_form_is_another():
    refused = failure_for(400, {}, b'{"object":"error","message":"no","type":"BadRequestError","param":"n","code":"x"}', "a")
    assert isinstance(refused, UpstreamRefused)
    assert json.loads(refused.body)["error"] == {"message": "no", "type": "invalid_request_error", "param": "n", "code": "x"}


REPORTED = [
    (b'{"error":{"message":"hot"}}', UpstreamFailed),
    (b'{"error":{"message":"hot","code":"429"}}', UpstreamOverloaded),
    (b'{"error":{"message":"hot","code":"rate_limit_exceeded"}}', UpstreamOverloaded),
    (b'{"error":"hot","status_code":408}', UpstreamTimedOut),
    (b'{"error":{"message":"hot","status":422}}', UpstreamRefused),
    (b'{"error":{"message":"hot","code":200}}', UpstreamFailed),
    (b'{"error":{"message":"hot","code":true}}', UpstreamFailed),
]


@pytest.mark.parametrize(("body", "kind"), REPORTED)
def test_an_error_that_is_reported_says_its_status_itself(body: bytes, kind: type[HeadraceError]):
    failure = reported(body)
    assert type(failure) is kind
    assert failure.message == "The upstream reported an error: hot"


NOW = {b"date": b"Sun, 06 Nov 1994 08:49:37 GMT"}
WAITS: list[tuple[dict[bytes, bytes], str, int | None]] = [
    ({b"retry-after": b"2"}, "", 2_000),
    ({b"retry-after": b"0.5"}, "try again in 9s", 500),
    ({b"retry-after-ms": b"1500", b"retry-after": b"9"}, "", 1_500),
    ({b"retry-after-ms": b"soon", b"retry-after": b"9"}, "", 9_000),
    ({b"retry-after": b"-7"}, "", 0),
    ({b"retry-after": b"inf"}, "", None),
    ({b"retry-after": b"nan"}, "", None),
    ({b"retry-after": b"Sun, 06 Nov 1994 08:50:07 GMT", **NOW}, "", 30_000),
    ({b"retry-after": b"Sunday, 06-Nov-94 08:50:07 GMT", **NOW}, "", 30_000),
    ({b"retry-after": b"Sun Nov  6 08:50:07 1994", b"date": b"Sun Nov  6 08:49:37 1994"}, "", 30_000),
    ({b"retry-after": b"Sun, 06 Nov 1994 08:49:07 GMT", **NOW}, "", 0),
    ({b"retry-after": b"Sun, 06 Nov 1994 08:50:07 GMT"}, "", None),
    ({b"retry-after": b"Sun, 06 Nov 1994 08:50:07 GMT", b"date": b"today"}, "", None),
    ({b"retry-after": b"Sun, 06 Nov 1994 08:50:07 -0000", **NOW}, "", None),
    ({b"retry-after": b"Sun, 31 Feb 1994 08:50:07 GMT", **NOW}, "", None),
    ({}, "Rate limit reached. Please try again in 20s. Visit us", 20_000),
    ({}, "Please try again in 86ms.", 86),
    ({}, "Please try again in 7m12.5s. Need more tokens?", 432_500),
    ({}, "Please try again in 1h2m3s", 3_723_000),
    ({}, "Please retry after 6 seconds.", 6_000),
    ({}, "Please retry your requests after 250 milliseconds.", 250),
    ({}, "Please retry after 1 minute", 60_000),
    ({}, "Please retry after a while", None),
    ({}, "Model too hot", None),
]


@pytest.mark.parametrize(("headers", "words", "wait_ms"), WAITS)
def test_how_long_to_wait(headers: dict[bytes, bytes], words: str, wait_ms: int | None):
    assert retry_after_ms(headers, words) == wait_ms
    failure = failure_for(429, headers, json.dumps({"error": {"message": words}}).encode(), "a")
    assert failure.retry_after_ms == wait_ms
