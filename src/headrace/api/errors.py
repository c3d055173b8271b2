"""From error to HTTP: the one place that knows the statuses, and the body that OpenAI's clients expect."""

import msgspec

from headrace.core import errors
from headrace.core.errors import HeadraceError, QuotaExceeded, RateLimited, UpstreamRefused

STATUS: dict[type[HeadraceError], int] = {
    errors.InvalidRequest: 400,
    errors.InvalidJson: 400,
    errors.SettingsInvalid: 400,
    errors.UnsupportedParameter: 400,
    errors.NotTranslatable: 400,
    errors.ContextLengthExceeded: 400,
    errors.MalformedRequest: 400,
    errors.PreviousResponseNotFound: 400,
    errors.GuardrailRefused: 400,
    errors.InvalidApiKey: 401,
    errors.CostTooHigh: 400,
    errors.NotAllowed: 403,
    errors.Unpriced: 403,
    errors.Unbounded: 403,
    errors.SandboxRefused: 403,
    errors.ModelNotFound: 404,
    errors.RouteNotFound: 404,
    errors.RequestNotFound: 404,
    errors.RunNotFound: 404,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.RequestTimedOut: 408,
    errors.Conflict: 409,
    errors.OutcomeUnknown: 409,
    errors.RunBusy: 409,
    errors.LeaveInvalid: 403,
    errors.BodyTooLarge: 413,
    errors.NoRoomLeft: 413,
    errors.UnsupportedMediaType: 415,
    errors.RateLimited: 429,
    errors.QuotaExceeded: 429,
    errors.OrganizationSpent: 429,
    errors.ProjectSpent: 429,
    errors.QueueFull: 429,
    errors.HeadersTooLarge: 431,
    errors.InternalFailure: 500,
    errors.RunLogDamaged: 500,
    errors.UpstreamFailed: 502,
    errors.UpstreamCut: 502,
    errors.UpstreamGarbled: 502,
    errors.UpstreamUnreachable: 502,
    errors.EngineFailed: 502,
    errors.UpstreamOverloaded: 503,
    errors.NoCapacity: 503,
    errors.NotReady: 503,
    errors.StorageFull: 503,
    errors.BudgetsUnreachable: 503,
    errors.StoreUnreachable: 503,
    errors.UpstreamTimedOut: 504,
}


def status_of(error: HeadraceError) -> int:
    return error.status if isinstance(error, UpstreamRefused) else STATUS[type(error)]


def body_of(error: HeadraceError) -> bytes:
    """`{"error": {message, type, param, code}}`, all four keys always there; an upstream's own words as they came."""
    if isinstance(error, UpstreamRefused):
        return error.body
    return msgspec.json.encode({"error": {"message": error.message, "type": type_of(error), "param": error.param, "code": error.code}})


def type_of(error: HeadraceError) -> str:
    """OpenAI's `type`: whose fault, or for a rate limit what ran out."""
    if isinstance(error, RateLimited):
        return error.kind
    if isinstance(error, QuotaExceeded):
        return QuotaExceeded.code
    status = STATUS[type(error)]
    if status == 429:
        return "requests"
    return "server_error" if status >= 500 else "invalid_request_error"


def headers_of(error: HeadraceError) -> bytes:
    """How long to wait, and whether: the official clients follow `retry-after-ms` and `x-should-retry`."""
    lines = [b"content-type: application/json\r\n"]
    if error.retry_after_ms is not None:
        seconds = -(-error.retry_after_ms // 1000)
        lines.append(b"retry-after-ms: %d\r\nretry-after: %d\r\n" % (error.retry_after_ms, seconds))
    hopeless = isinstance(error, RateLimited) and error.retry_after_ms is None  # it asks for more than the limit: no waiting helps
    if (hopeless or not error.retryable) and status_of(error) in (408, 409, 429, 500, 502, 503, 504):
        lines.append(b"x-should-retry: false\r\n")
    return b"".join(lines)


def answer_for(error: HeadraceError) -> tuple[int, bytes, bytes]:
    """Status, header lines, body."""
    return status_of(error), headers_of(error), body_of(error)
