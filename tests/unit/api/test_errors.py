"""From error to HTTP: every failure that a request can meet has its status, its body and its headers."""

import importlib
import json
import pkgutil
from collections.abc import Iterator

import pytest

import headrace
from headrace.api.errors import STATUS, answer_for, status_of
from headrace.core import errors
from headrace.core.errors import HeadraceError, NotFound, PreviousResponseNotFound, SetupError, Side, UpstreamRefused


def every_kind(kind: type[HeadraceError] = HeadraceError) -> Iterator[type[HeadraceError]]:
    for child in kind.__subclasses__():
        yield child
        yield from every_kind(child)


def test_the_map_is_total():
    """Also for errors that a room defines for itself; what stops a start is never answered, what an upstream refused has its own status."""
    for module in pkgutil.walk_packages(headrace.__path__, "headrace."):
        if not module.name.startswith(("headrace.testing.engine", "headrace.engine.")) and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    ours = {kind for kind in every_kind() if kind.__module__.startswith("headrace.")}
    asked_for = {errors.SettingsInvalid}  # by who reloads a running server
    assert {kind for kind in ours if not issubclass(kind, SetupError)} - {UpstreamRefused} | asked_for == set(STATUS)


@pytest.mark.parametrize("kind", STATUS, ids=lambda kind: kind.__name__)
def test_a_status_says_whose_failure_it_is(kind: type[HeadraceError]):
    if kind.side is Side.CLIENT:
        assert 400 <= STATUS[kind] < 500
    else:
        assert STATUS[kind] >= 500 or kind in (errors.QueueFull, errors.SettingsInvalid)


HOPELESS = "x-should-retry: false"
ANSWERS = [
    # error, status, type, param, code, headers beside the content type
    (errors.InvalidRequest("no", param="n"), 400, "invalid_request_error", "n", "invalid_value", []),
    (errors.ModelNotFound("m"), 404, "invalid_request_error", "model", "model_not_found", []),
    (errors.InvalidApiKey("who"), 401, "invalid_request_error", None, "invalid_api_key", []),
    (
        errors.RateLimited("slow", kind="tokens", retry_after_ms=1_001), 429, "tokens", None, "rate_limit_exceeded",
        ["retry-after-ms: 1001", "retry-after: 2"],
    ),
    (errors.RateLimited("never", kind="tokens", retry_after_ms=None), 429, "tokens", None, "rate_limit_exceeded", [HOPELESS]),
    (errors.QueueFull("full", retry_after_ms=0), 429, "requests", None, "queue_full", ["retry-after-ms: 0", "retry-after: 0"]),
    (errors.InternalFailure("oh"), 500, "server_error", None, "internal_error", []),
    (errors.UpstreamCut("cut"), 502, "server_error", None, "upstream_cut", []),
    (errors.UpstreamTimedOut("late"), 504, "server_error", None, "upstream_timeout", []),
]  # fmt: skip


@pytest.mark.parametrize(("error", "status", "type", "param", "code", "headers"), ANSWERS, ids=lambda one: getattr(one, "code", None))
def test_answers(error, status, type, param, code, headers):
    got_status, got_headers, body = answer_for(error)
    assert got_status == status
    assert json.loads(body) == {"error": {"message": error.message, "type": type, "param": param, "code": code}}
    assert got_headers.decode().splitlines() == ["content-type: application/json", *headers]


def test_what_an_upstream_refused_goes_on_as_it_came():
    refused = UpstreamRefused("a answered 422", status=422, body=b'{"error":{"message":"its words"}}')
    assert answer_for(refused) == (422, b"content-type: application/json\r\n", refused.body)
    assert status_of(refused) == 422


def test_who_should_not_try_again_is_told_so():
    refused = UpstreamRefused("a answered 409", status=409, body=b"{}")
    assert b"x-should-retry: false\r\n" in answer_for(refused)[1]


def test_what_is_not_kept_here_is_named():
    assert NotFound("File", "file-1").message == "File with id 'file-1' not found."
    gone = PreviousResponseNotFound("resp_1")
    assert (status_of(gone), gone.code, gone.param) == (400, "previous_response_not_found", "previous_response_id")
    assert "resp_1" in gone.message
