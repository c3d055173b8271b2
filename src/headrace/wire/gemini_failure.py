"""What goes wrong at Google, as our failures: an answer other than 200, or an error inside of a stream.

Both are the JSON of google.rpc.Status, alone or in an array (https://cloud.google.com/apis/design/errors). A wrong key is told as a wrong
request (400), and so is an account in a place that is not served: both are ours and no client's.
"""

from collections.abc import Mapping

import msgspec

from headrace.core.errors import HeadraceError, UpstreamFailed, UpstreamOverloaded, UpstreamRefused, UpstreamTimedOut
from headrace.core.unreadable import UNREADABLE

WORDS_MAX = 2_000
"""Characters of the vendor's words that are repeated."""

OVERLOADED = frozenset({429, 503})
TIMED_OUT = frozenset({408, 504})
"""Its time limit passed while it worked: it may have computed."""
REMEDIES = {
    401: "check the pool's key",
    403: "check what the pool's key may do",
    404: "check the pool's endpoints and its models' names",
    405: "check the pool's endpoints",
}
"""Statuses that blame our configuration, not the client's request, and what to do."""
PRECONDITION = "check that the pool's account is billed and that Google serves its place"
TOO_LONG = "exceeds the maximum number of tokens"


class Detail(msgspec.Struct, frozen=True):
    """Of the many kinds of details: how long to wait (RetryInfo), and the reason by name (ErrorInfo)."""

    retryDelay: str | None = None
    reason: str | None = None


class Problem(msgspec.Struct, frozen=True):
    """google.rpc.Status. `code` is the HTTP status, also where the HTTP answer itself was a 200."""

    code: int = 0
    message: str = ""
    status: str = ""
    details: list[Detail] = []


class _Told(msgspec.Struct):
    error: Problem


_told: "msgspec.json.Decoder[_Told | list[_Told]]" = msgspec.json.Decoder(_Told | list[_Told])


def problem_in(body: bytes) -> Problem | None:
    """The error that `body` tells; None when it tells none."""
    try:
        told = _told.decode(body)
    except UNREADABLE:
        return None
    if isinstance(told, list):
        return told[0].error if told else None
    return told.error


def failure_for(status: int, headers: Mapping[bytes, bytes], body: bytes, whose: str) -> HeadraceError:
    """What an answer other than 200 of `whose` means: what, whose fault, whether to try again. Names of headers are in lower case."""
    return _failure(status, problem_in(body) or Problem(), whose, _ms(headers.get(b"retry-after", b"")))


def failure_in_stream(problem: Problem, whose: str) -> HeadraceError:
    """The same for an error that comes after a 200."""
    return _failure(problem.code or 500, problem, whose, None)


def _failure(status: int, problem: Problem, whose: str, header_ms: int | None) -> HeadraceError:
    words = problem.message[:WORDS_MAX]
    said = f"{whose} answered {status}{': ' + words if words else '.'}"
    if status in OVERLOADED:
        delay_ms = _delay_ms(problem)
        return UpstreamOverloaded(said, retry_after_ms=header_ms if delay_ms is None else delay_ms)
    if status in TIMED_OUT:
        return UpstreamTimedOut(said)
    if remedy := _remedy(status, problem):
        return UpstreamFailed(f"{said.removesuffix('.')} ({remedy}).")
    if not 400 <= status < 500:
        return UpstreamFailed(said)
    return UpstreamRefused(said, status=status, body=_body(words, problem.status))


def _remedy(status: int, problem: Problem) -> str | None:
    """What to do about an error that is ours; None for the client's."""
    if any((detail.reason or "").startswith("API_KEY_") for detail in problem.details) or problem.message.startswith("API key "):
        return REMEDIES[401]
    return PRECONDITION if problem.status == "FAILED_PRECONDITION" else REMEDIES.get(status)


def _body(words: str, status: str) -> bytes:
    """The vendor's words in the form that clients of OpenAI read."""
    code = "context_length_exceeded" if TOO_LONG in words else status.lower() or None
    message = words or "The upstream refused the request without saying why."
    return msgspec.json.encode({"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}})


def _delay_ms(problem: Problem) -> int | None:
    """RetryInfo's delay, a text as `34s` or `0.5s`."""
    return next((_ms(detail.retryDelay.removesuffix("s")) for detail in problem.details if detail.retryDelay), None)


def _ms(seconds: str | bytes) -> int | None:
    """None for a date, nonsense or nothing."""
    try:
        return max(0, int(float(seconds) * 1_000))
    except (ValueError, OverflowError):
        return None
