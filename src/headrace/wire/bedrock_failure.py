"""What a failure that Bedrock reports means: what happened, whose fault it is, and whether to try again.

AWS names each kind of failure, and the name says more than the status does: over HTTP in the header `x-amzn-errortype`, else in the
body's `__type` or `code`, in a stream in the header `:exception-type` of a message. A name may have an address after a colon or a
namespace before a hash, and its first letter is small in a stream and capital elsewhere. A kind that we don't know is judged by its status.
"""

import re
from collections.abc import Mapping

import msgspec

from headrace.core.errors import HeadraceError, UpstreamFailed, UpstreamOverloaded, UpstreamRefused, UpstreamTimedOut
from headrace.core.unreadable import UNREADABLE

WORDS_MAX = 2_000
"""Characters of AWS's words that are repeated: a validation may repeat the request in them."""

OVERLOADED = frozenset(
    {
        "throttlingexception",
        "throttledexception",
        "toomanyrequestsexception",
        "servicequotaexceededexception",
        "serviceunavailableexception",
        "modelnotreadyexception",
    }
)
TIMED_OUT = frozenset({"modeltimeoutexception", "requesttimeoutexception"})
BROKE = frozenset({"internalserverexception", "internalfailure", "modelerrorexception", "modelstreamerrorexception"})
CREDENTIALS = frozenset(
    {
        "accessdeniedexception",
        "expiredtokenexception",
        "incompletesignatureexception",
        "invalidsignatureexception",
        "missingauthenticationtokenexception",
        "notauthorizedexception",
        "signaturedoesnotmatch",
        "unrecognizedclientexception",
    }
)
STATUSES = {
    408: TIMED_OUT,
    424: BROKE,
    429: OVERLOADED,
    503: OVERLOADED,
    529: OVERLOADED,
}
ADDRESS = frozenset({404, 405})
"""Statuses that blame the pool's endpoints or its models' names."""

_BLAMES_MODEL = re.compile(r"model identifier is invalid|on-demand throughput|model version has reached the end of its life", re.I)
_TOO_LONG = re.compile(
    r"input is too long|too many (input )?tokens|prompt is too long|maximum context length|exceeds? .{0,40}context", re.I
)
_UNPERMITTED = re.compile(r"is not authorized to perform", re.I)


class _Told(msgspec.Struct, rename={"kind": "__type", "capital": "Message"}):
    message: str | None = None
    capital: str | None = None
    kind: str | None = None
    code: str | None = None


def failure_for(status: int, headers: Mapping[bytes, bytes], body: bytes, whose: str) -> HeadraceError:
    """What an answer of `whose` other than 200 means. Names of headers are in lower case."""
    told = _read(body)
    words = (told.message or told.capital or "")[:WORDS_MAX]
    kind = headers.get(b"x-amzn-errortype", b"").decode(errors="replace") or told.kind or told.code or ""
    said = f"{whose} answered {status}: {words}" if words else f"{whose} answered {status}."
    return _failure(_plain(kind), status, said, words, _retry_after_ms(headers))


def failure_in_stream(kind: str, body: bytes) -> HeadraceError:
    """What an exception means that comes inside of a stream that began well."""
    told = _read(body)
    words = (told.message or told.capital or "")[:WORDS_MAX]
    said = f"The upstream reported {kind or 'an error'}: {words}" if words else f"The upstream reported {kind or 'an error'}."
    status = 400 if _plain(kind) == "validationexception" else 500
    return _failure(_plain(kind), status, said, words, None)


def lacks_permission(body: bytes) -> bool:
    """Whether a 403 says that the credentials are known and good, and only may not do this."""
    told = _read(body)
    return _UNPERMITTED.search(told.message or told.capital or "") is not None


def _failure(kind: str, status: int, said: str, words: str, wait_ms: int | None) -> HeadraceError:
    judged = STATUSES.get(status, frozenset()) if kind not in OVERLOADED | TIMED_OUT | BROKE | CREDENTIALS else {kind}
    if judged & OVERLOADED:
        return UpstreamOverloaded(said, retry_after_ms=wait_ms)
    if judged & TIMED_OUT:
        return UpstreamTimedOut(said)
    if kind in CREDENTIALS or status in (401, 403):
        return UpstreamFailed(_with_remedy(said, "check the pool's credentials, its region and what they may do"))
    if status in ADDRESS or kind == "resourcenotfoundexception" or _BLAMES_MODEL.search(words):
        return UpstreamFailed(_with_remedy(said, "check the pool's endpoints, its region and its models' names"))
    if judged & BROKE or status >= 500 or status < 400:
        return UpstreamFailed(said)
    return UpstreamRefused(said, status=status, body=_for_the_client(words))


def _for_the_client(words: str) -> bytes:
    """The body that OpenAI's clients read, in AWS's words."""
    code = "context_length_exceeded" if _TOO_LONG.search(words) else None
    said = words or "The upstream refused the request without saying why."
    error = {"message": said, "type": "invalid_request_error", "param": "messages" if code else None, "code": code}
    return msgspec.json.encode({"error": error})


def _with_remedy(said: str, remedy: str) -> str:
    return f"{said.removesuffix('.')} ({remedy})."


def _plain(kind: str) -> str:
    return kind.partition(":")[0].rpartition("#")[2].strip().lower()


def _read(body: bytes) -> _Told:
    try:
        return msgspec.json.decode(body, type=_Told)
    except UNREADABLE:
        return _Told()


def _retry_after_ms(headers: Mapping[bytes, bytes]) -> int | None:
    """`retry-after-ms`, else `retry-after` in seconds; None for a date or nonsense."""
    for name, unit_ms in ((b"retry-after-ms", 1), (b"retry-after", 1_000)):
        try:
            return max(0, int(float(headers[name]) * unit_ms))
        except (KeyError, ValueError, OverflowError):
            continue
    return None
