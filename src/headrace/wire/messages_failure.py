"""Failures in the form that Anthropic's clients read: `{"type": "error", "error": {type, message}, "request_id"}`."""

import msgspec

from headrace.core.errors import HeadraceError, UpstreamRefused
from headrace.core.unreadable import UNREADABLE

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class _Told(msgspec.Struct):
    message: str | None = None


class _Body(msgspec.Struct):
    error: _Told | None = None


def type_of(status: int) -> str:
    return TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")


def failure_body(error: HeadraceError, status: int, request: str) -> bytes:
    """The body; an upstream's words in place of ours, where it refused."""
    told = {"type": type_of(status), "message": _words(error)}
    return msgspec.json.encode({"type": "error", "error": told, "request_id": request})


def _words(error: HeadraceError) -> str:
    if not isinstance(error, UpstreamRefused):
        return error.message
    try:
        told = msgspec.json.decode(error.body, type=_Body).error
    except UNREADABLE:
        told = None
    return (told.message if told else None) or error.message
