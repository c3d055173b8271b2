"""What it means when an upstream of OpenAI's dialect does not answer as asked: what happened, whose fault it is, and whether to try again.

The status says most of it, but not all: a wrong key may come as a 400, a limit as a 413, an error inside of a 200, a client's mistake
inside of a stream that began well. What blames our key, address, model name or account is ours and may go better elsewhere; what blames
the request is the client's, in the vendor's words. The vendors' forms of a body are many, and some are no JSON at all.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from headrace.core.errors import HeadraceError, UpstreamFailed, UpstreamOverloaded, UpstreamRefused, UpstreamTimedOut
from headrace.core.unreadable import UNREADABLE

WORDS_MAX = 2_000
"""Characters of a vendor's words that are repeated: some vendors repeat the whole request in theirs."""

OVERLOADED = frozenset({429, 498, 503, 529})
"""Too much at the moment: 498 is what Groq answers when its flexible tier is full, 529 Anthropic's word behind some proxies."""
TIMED_OUT = frozenset({408, 504, 524})
"""Its time limit passed while it worked: it may have computed."""
BROKE = frozenset({409, 424, 425})
"""A 4xx that does not blame the request: a conflict inside, a failed dependency (TGI says so of its generation), too early."""
REMEDIES = {
    401: "check the pool's key",
    402: "the pool's account has no credit",
    403: "check what the pool's key may do",
    404: "check the pool's endpoints and its models' names",
    405: "check the pool's endpoints",
    407: "check the proxy before the pool",
    421: "check the pool's endpoints",
}
"""Statuses that blame our configuration, not the client's request, and what to do."""

_BLAMES_KEY = re.compile(r"(incorrect|invalid|missing|expired) api[ _-]?key|api[ _-]?key (is )?(not valid|invalid|missing|expired)", re.I)
_BLAMES_NAME = re.compile(
    r"model not exist|not a valid model|(invalid|unknown) model(:| id\b| name\b)|model\b.{0,200}\bdoes not exist", re.I
)
_TOO_LONG = re.compile(
    r"context[ _](length|size|window)|maximum model length|prompt (is )?too long|range of input length|exceeds the maximum number of tokens"
    r"|`inputs` (must have less than|tokens \+ `max_new_tokens` must be)",
    re.I,
)
_BUSY = ("rate_limit", "overloaded")
_NO_CREDIT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance"})
_NO_MODEL = frozenset({"model_not_found", "invalid_model", "deploymentnotfound"})


class _Told(msgspec.Struct, frozen=True):
    """What a body says went wrong. `status` is one that it states itself; `own` whether it has the form that OpenAI's clients expect."""

    words: str = ""
    code: str = ""
    type: str = ""
    param: str | None = None
    status: int | None = None
    own: bool = False
    flagged: bool = False


def failure_for(status: int, headers: Mapping[bytes, bytes], body: bytes, whose: str) -> HeadraceError:
    """What an answer other than 200 of `whose` means. Names of headers are in lower case."""
    told = _read(body)
    words = told.words or (f"it redirects to {_text(headers[b'location'])}" if b"location" in headers else "")
    return _failure(status, told, f"{whose} answered {status}{_after_colon(words)}", body, retry_after_ms(headers, told.words))


def reported(body: bytes) -> HeadraceError:
    """What an error means that the upstream reports inside of an answer that began well: of a whole one, or of one event of a stream."""
    told = _read(body)
    return _failure(
        told.status or 500, told, f"The upstream reported an error{_after_colon(told.words)}", body, retry_after_ms({}, told.words)
    )


def _failure(status: int, told: _Told, said: str, body: bytes, wait_ms: int | None) -> HeadraceError:
    if told.code in _NO_CREDIT:
        return UpstreamFailed(_with_remedy(said, REMEDIES[402]))
    if status in OVERLOADED or any(busy in told.code or busy in told.type for busy in _BUSY):
        return UpstreamOverloaded(said, retry_after_ms=wait_ms)
    if status in TIMED_OUT:
        return UpstreamTimedOut(said)
    if status == 403 and told.flagged:
        return UpstreamRefused(said, status=status, body=_for_the_client(told, body))
    if status in REMEDIES:
        return UpstreamFailed(_with_remedy(said, REMEDIES[status]))
    if status >= 500 or status < 400 or status in BROKE:
        return UpstreamFailed(said)
    return _refusal(status, told, said, body)


def _refusal(status: int, told: _Told, said: str, body: bytes) -> HeadraceError:
    """A 4xx that means the request, or one of ours that only its words tell apart from that."""
    if told.code in ("invalid_api_key", "api_key_invalid") or _BLAMES_KEY.search(told.words):
        return UpstreamFailed(_with_remedy(said, REMEDIES[401]))
    if told.code in _NO_MODEL or told.type in _NO_MODEL or _BLAMES_NAME.search(told.words):
        return UpstreamFailed(_with_remedy(said, REMEDIES[404]))
    if told.code == "context_length_exceeded" or told.type == "exceed_context_size_error" or _TOO_LONG.search(told.words):
        if told.own and told.code == "context_length_exceeded":
            return UpstreamRefused(said, status=status, body=body)
        told = msgspec.structs.replace(told, code="context_length_exceeded", param=told.param or "messages", own=False)
        return UpstreamRefused(said, status=400, body=_for_the_client(told, body))
    return UpstreamRefused(said, status=status, body=_for_the_client(told, body))


def _for_the_client(told: _Told, body: bytes) -> bytes:
    """The vendor's own body where a client of OpenAI can read it, else one with its words."""
    if told.own:
        return body
    words = told.words or "The upstream refused the request without saying why."
    error = {"message": words, "type": "invalid_request_error", "param": told.param, "code": told.code or None}
    return msgspec.json.encode({"error": error})


def _with_remedy(said: str, remedy: str) -> str:
    return f"{said.removesuffix('.')} ({remedy})."


def _after_colon(words: str) -> str:
    return f": {words}" if words else "."


# What the body says.


def _read(body: bytes) -> _Told:
    try:
        told = msgspec.json.decode(body)
    except UNREADABLE:
        return _Told(words=_plain(body))
    if isinstance(told, list) and told:
        told = told[0]  # Google's form
    if not isinstance(told, dict):
        return _Told(words=_words(told))
    error = told.get("error")
    inner = error if isinstance(error, dict) else told
    kind = _name(inner.get("type"))
    stated = inner.get("code")
    return _Told(
        words=_words(error if isinstance(error, str) else inner),
        code=_name(stated),
        type=kind,
        param=inner["param"] if isinstance(inner.get("param"), str) else None,
        status=_status(stated) or _status(inner.get("status")) or _status(told.get("status_code")),
        own=isinstance(error, dict) and isinstance(error.get("message"), str),
        flagged=isinstance(inner.get("metadata"), dict) and "flagged_input" in inner["metadata"],
    )


def _words(told: Any) -> str:
    """The words of any of the forms: a text; `message`, `error`, `detail` or `msg`, each of which may be such a form again; a list."""
    if isinstance(told, str):
        return told.strip()[:WORDS_MAX]
    if isinstance(told, list):
        return "; ".join(words for one in told[:5] if (words := _words(one)))[:WORDS_MAX]
    if not isinstance(told, dict):
        return ""
    for key in ("message", "error", "detail", "errors", "msg", "Message", "error_description"):
        if words := _words(told.get(key)):
            return _located(told, words) if key == "msg" else words + _raw(told)
    return ""


def _located(told: dict[str, Any], words: str) -> str:
    """FastAPI says the place of a mistake beside it."""
    place = told.get("loc")
    return f"{'.'.join(str(step) for step in place if step != 'body')}: {words}" if isinstance(place, list) else words


def _raw(told: dict[str, Any]) -> str:
    """OpenRouter says only that a provider failed, and beside it what that one said."""
    metadata = told.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    return f" ({raw.strip()[:WORDS_MAX]})" if isinstance(raw, str) and raw.strip() else ""


_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.I)


def _plain(body: bytes) -> str:
    """A page's title, or a short text as it is."""
    text = " ".join(_text(body[: 4 * WORDS_MAX]).split())
    if title := _TITLE.search(text):
        return title[1].strip()
    return "" if text.startswith(("<", "{", "[")) or not text.isprintable() else text[:WORDS_MAX]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace")


def _name(told: Any) -> str:
    return told.lower() if isinstance(told, str) else ""


def _status(told: Any) -> int | None:
    """A status that the body states, as a number or as its digits."""
    if isinstance(told, str) and told.isdecimal() and len(told) == 3:
        told = int(told)
    return told if isinstance(told, int) and 400 <= told < 600 else None


# How long to wait.

_WAIT = re.compile(r"(?:try again|retry)[^.]{0,20}? (?:in|after) ((?:\d{1,9}(?:\.\d+)? ?(?:ms|h|m|s)[a-z]*[ ,]*)+)", re.I)
_SPAN = re.compile(r"(\d{1,9}(?:\.\d+)?) ?(ms|milli|h|m|s)", re.I)
_MS = {"ms": 1, "milli": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}


def retry_after_ms(headers: Mapping[bytes, bytes], words: str = "") -> int | None:
    """`retry-after-ms`, else `retry-after` in seconds or as a date, else what the words say (`try again in 1m2.5s`); None for nonsense.

    A date is measured from the answer's own `date`, so that no clock but the upstream's counts.
    """
    for name, unit_ms in ((b"retry-after-ms", 1), (b"retry-after", 1_000)):
        try:
            return max(0, int(float(headers[name]) * unit_ms))
        except (KeyError, ValueError, OverflowError):
            continue
    if (until := _from_date(headers)) is not None:
        return until
    if not (told := _WAIT.search(words)):
        return None
    return int(sum(float(count) * _MS[unit.lower()] for count, unit in _SPAN.findall(told[1])))


def _from_date(headers: Mapping[bytes, bytes]) -> int | None:
    try:
        until = parsedate_to_datetime(_text(headers[b"retry-after"]))
        now = parsedate_to_datetime(_text(headers[b"date"]))
        return max(0, (until - now) // timedelta(milliseconds=1))
    except (KeyError, ValueError, TypeError, OverflowError):
        return None
