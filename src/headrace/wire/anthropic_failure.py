"""What Anthropic's errors mean: whose fault, and whether to try again. Each is `{"type": "error", "error": {type, message}}`.

What blames the request goes to the client in OpenAI's form. What blames our key, our account or our settings does not: the client
can't help it, and another pool may serve.
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from headrace.core.clock import MS, Moment
from headrace.core.errors import HeadraceError, UpstreamFailed, UpstreamOverloaded, UpstreamRefused, UpstreamTimedOut
from headrace.core.unreadable import UNREADABLE

WORDS_MAX = 2_000
"""Characters of the vendor's words that are repeated."""
OVERLOADED = frozenset({429, 503, 529})
TIMED_OUT = frozenset({408, 504})
"""Its time limit passed while it worked: it may have computed."""
BROKE = frozenset({409})
"""A 4xx that does not blame the request."""
REMEDIES = {
    401: "check the pool's key",
    402: "the pool's account has no credit",
    403: "check what the pool's key may do",
    404: "check the pool's endpoints and its models' names",
    405: "check the pool's endpoints",
}
"""Statuses that blame our configuration, and what to do."""
OUR_ACCOUNT_CODES = frozenset(
    {"organization_on_hold", "cmek_key_disabled", "cmek_key_network_blocked", "organization_not_enrolled_in_beta", "user_profile_required"}
)
OUR_ACCOUNT_WORDS = ("credit balance is too low", "api usage limits")
"""A 400 says so too, with nothing but its words to tell it by."""
TOO_LONG_WORDS = ("prompt is too long", "exceed context limit", "context window")
STATUS_OF = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
LIMITS = ("requests", "tokens", "input-tokens", "output-tokens")


class _Details(msgspec.Struct):
    error_code: str | None = None


class _Error(msgspec.Struct):
    type: str | None = None
    message: str | None = None
    details: _Details | None = None

    @property
    def words(self) -> str:
        return (self.message or "")[:WORDS_MAX]


class _Told(msgspec.Struct):
    error: _Error | str | None = None
    message: str | None = None


def failure_for(status: int, headers: Mapping[bytes, bytes], body: bytes, whose: str, *, now: Moment) -> HeadraceError:
    """What an answer other than 200 means; `whose` is the pool that gave it, `now` when it came. Names of headers are in lower case."""
    error = _error(body)
    return _failure(status, error, f"{whose} answered {status}{_after_colon(error)}", _retry_after_ms(headers, now))


def failure_in_stream(body: bytes) -> HeadraceError:
    """What an event `error` means: a stream that began with 200 can still fail like any answer."""
    error = _error(body)
    said = f"The upstream reported an error in its stream{_after_colon(error)}"
    return _failure(STATUS_OF.get(error.type or "", 500), error, said, None)


def _failure(status: int, error: _Error, said: str, retry_after_ms: int | None) -> HeadraceError:
    if status in OVERLOADED:
        return UpstreamOverloaded(said, retry_after_ms=retry_after_ms)
    if status in TIMED_OUT:
        return UpstreamTimedOut(said)
    if status in REMEDIES or _our_account(error):
        remedy = REMEDIES.get(status, "check the pool's account")
        return UpstreamFailed(f"{said.removesuffix('.')} ({remedy}).")
    if status >= 500 or status < 400 or status in BROKE:
        return UpstreamFailed(said)
    return _refused(status, error, said)


def _our_account(error: _Error) -> bool:
    words = error.words.lower()
    return (error.details is not None and error.details.error_code in OUR_ACCOUNT_CODES) or any(one in words for one in OUR_ACCOUNT_WORDS)


def _refused(status: int, error: _Error, said: str) -> UpstreamRefused:
    """The vendor's words, in the form that OpenAI's clients read."""
    told = {"message": error.words or said, "type": "invalid_request_error", "param": None, "code": None}
    if any(one in error.words.lower() for one in TOO_LONG_WORDS):
        status, told = 400, told | {"param": "messages", "code": "context_length_exceeded"}
    return UpstreamRefused(said, status=status, body=msgspec.json.encode({"error": told}))


def _after_colon(error: _Error) -> str:
    return f": {error.words}" if error.words else "."


def _error(body: bytes) -> _Error:
    try:
        told = msgspec.json.decode(body, type=_Told)
    except UNREADABLE:
        return _Error()
    return told.error if isinstance(told.error, _Error) else _Error(message=told.error or told.message)


def _retry_after_ms(headers: Mapping[bytes, bytes], now: Moment) -> int | None:
    """`retry-after-ms`, else `retry-after` in seconds, else when a limit that is used up is filled again; None where nothing says so."""
    for name, unit_ms in ((b"retry-after-ms", 1), (b"retry-after", 1_000)):
        try:
            return max(0, int(float(headers[name]) * unit_ms))
        except (KeyError, ValueError, OverflowError):
            continue
    resets = [_wait_ms(headers.get(b"anthropic-ratelimit-%b-reset" % limit.encode()), now) for limit in LIMITS if _used_up(headers, limit)]
    return max((wait_ms for wait_ms in resets if wait_ms is not None), default=None)


def _used_up(headers: Mapping[bytes, bytes], limit: str) -> bool:
    return headers.get(b"anthropic-ratelimit-%b-remaining" % limit.encode()) == b"0"


def _wait_ms(reset: bytes | None, now: Moment) -> int | None:
    """Until `reset`, a time in RFC 3339."""
    try:
        at = datetime.fromisoformat((reset or b"").decode())
    except ValueError:
        return None
    return max(0, int(at.timestamp() * 1_000) - now // MS) if at.tzinfo is not None else None
