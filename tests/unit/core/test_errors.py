"""Every failure says what, whose, and whether to try again; no two say it with one code."""

import inspect

import pytest

from headrace.core import errors
from headrace.core.errors import HeadraceError, ModelNotFound, RateLimited, RequestNotFound, SetupError, Side, UpstreamRefused

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, HeadraceError) and kind is not HeadraceError]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_failure_is_whole(kind: type[HeadraceError]):
    assert kind.code
    assert isinstance(kind.side, Side)
    assert isinstance(kind.retryable, bool)


def test_codes_differ():
    codes = [kind.code for kind in KINDS]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_tree_at_the_top_names_it(kind: type[HeadraceError]):
    assert errors.__doc__ is not None
    named = errors.__doc__
    assert kind.__name__ in named or any(parent.__name__ in named for parent in kind.__mro__[1:-3])


def test_what_the_client_did_wrong_is_not_tried_again():
    again = {kind.code for kind in KINDS if kind.side is Side.CLIENT and kind.retryable}
    assert again == {"rate_limit_exceeded", "request_timeout"}


def test_facts():
    assert (str(ModelNotFound("gpt-9")), ModelNotFound("gpt-9").param) == (
        "The model `gpt-9` does not exist or you do not have access to it.",
        "model",
    )
    limited = RateLimited("slow down", kind="tokens", retry_after_ms=12)
    assert (limited.kind, limited.retry_after_ms, limited.message) == ("tokens", 12, "slow down")
    refused = UpstreamRefused("no", status=422, body=b"{}")
    assert (refused.status, refused.body, refused.param, refused.retry_after_ms) == (422, b"{}", None, None)
    assert not SetupError("stop").retryable
    assert str(RequestNotFound("req_7")) == "No request 'req_7' is on record here, or it is another project's."
