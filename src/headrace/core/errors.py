"""Every failure that a caller can meet: what happened, whose side it is on, and whether trying again can help.

HeadraceError
├── side CLIENT    InvalidRequest (ContextLengthExceeded, UnsupportedParameter (NotTranslatable), ModelNotFound,
│                  PreviousResponseNotFound), InvalidApiKey, NotFound, Conflict,
│                  NotAllowed, GuardrailRefused, RateLimited, QuotaExceeded (OrganizationSpent, ProjectSpent), Unpriced,
│                  Unbounded, CostTooHigh, BodyTooLarge, HeadersTooLarge, UnsupportedMediaType, MethodNotAllowed, RouteNotFound,
│                  RequestNotFound, RequestTimedOut, SandboxRefused, RunNotFound, RunBusy,
│                  LeaveInvalid
├── side UPSTREAM  UpstreamUnreachable, UpstreamTimedOut, UpstreamOverloaded, UpstreamFailed (UpstreamCut, UpstreamGarbled), UpstreamRefused
└── side SELF      QueueFull, EngineFailed, NotReady, StorageFull, BudgetsUnreachable, StoreUnreachable, NoCapacity, InternalFailure,
                   RunLogDamaged, SetupError (what stops a start)

`api/errors.py` alone turns them into HTTP; the command line prints `str(error)` and exits.
"""

from enum import Enum
from typing import ClassVar


class Side(Enum):
    """Whose failure it is."""

    CLIENT = "client"
    UPSTREAM = "upstream"
    SELF = "self"


class HeadraceError(Exception):
    """The root. `param` names the request's field at fault; `retry_after_ms` is set where waiting helps, and truthful."""

    code: ClassVar[str]
    side: ClassVar[Side]
    retryable: ClassVar[bool]
    may_bill: ClassVar[bool] = False
    """The upstream may have computed all the same, and bill it: only it knows what."""
    elsewhere: ClassVar[bool] = False
    """Asking the same pool again is no use, but another may take it."""

    def __init__(self, message: str, *, param: str | None = None, retry_after_ms: int | None = None) -> None:
        super().__init__(message)
        self.message, self.param, self.retry_after_ms = message, param, retry_after_ms


class InvalidRequest(HeadraceError):
    code, side, retryable = "invalid_value", Side.CLIENT, False


class InvalidJson(InvalidRequest):
    code = "invalid_json"


class UnsupportedParameter(InvalidRequest):
    code = "unsupported_parameter"


class NotTranslatable(UnsupportedParameter):
    """The pool's dialect can't say what is asked: a parameter that must not be dropped, or any in strict mode."""

    code = "not_translatable"
    elsewhere = True


class ContextLengthExceeded(InvalidRequest):
    code = "context_length_exceeded"


class ModelNotFound(InvalidRequest):
    code = "model_not_found"

    def __init__(self, model: str) -> None:
        super().__init__(f"The model `{model}` does not exist or you do not have access to it.", param="model")


class InvalidApiKey(HeadraceError):
    code, side, retryable = "invalid_api_key", Side.CLIENT, False


class RateLimited(HeadraceError):
    """A limit of the key is reached. `kind` is what ran out: `requests` or `tokens`."""

    code, side, retryable = "rate_limit_exceeded", Side.CLIENT, True

    def __init__(self, message: str, *, kind: str, retry_after_ms: int | None, left: dict[str, tuple[int, int, int]] | None = None) -> None:
        """`left`: of requests and tokens, where limited: the limit, what remains of it, milliseconds until all is there again."""
        super().__init__(message, retry_after_ms=retry_after_ms)
        self.kind, self.left = kind, left or {}


class QuotaExceeded(HeadraceError):
    """A budget has no room for what this could cost: asking again does not help before somebody raises it or its next period begins."""

    code, side, retryable = "insufficient_quota", Side.CLIENT, False


class OrganizationSpent(QuotaExceeded):
    """So it is with the spend limit of an organisation."""

    code = "organization_spend_limit_exceeded"


class ProjectSpent(QuotaExceeded):
    """So it is with the spend limit of a project."""

    code = "project_spend_limit_exceeded"


class Unpriced(HeadraceError):
    """Nobody knows what it would cost, and a hard budget or `max_cost` holds for it."""

    code, side, retryable = "unpriced_model", Side.CLIENT, False


class Unbounded(HeadraceError):
    """Nobody knows what it could cost at most, and a hard budget or `max_cost` holds for it."""

    code, side, retryable = "unbounded_request", Side.CLIENT, False


class CostTooHigh(InvalidRequest):
    """It could cost more than the `max_cost` that it names, however short its answer were."""

    code = "max_cost_exceeded"


class BudgetsUnreachable(HeadraceError):
    """The place where budgets are kept does not answer, and what was leased of it is used up: money fails closed."""

    code, side, retryable = "budgets_unreachable", Side.SELF, True


class StoreUnreachable(HeadraceError):
    """The database of what all hosts share does not answer: nothing was kept, and nothing was begun that must be."""

    code, side, retryable = "store_unreachable", Side.SELF, True


class NotAllowed(HeadraceError):
    """The rules about this data leave nobody who may have it."""

    code, side, retryable = "not_allowed", Side.CLIENT, False


class GuardrailRefused(HeadraceError):
    """A guardrail of the settings says that it may not pass."""

    code, side, retryable = "content_filter", Side.CLIENT, False

    def __init__(self, guardrail: str, why: str) -> None:
        super().__init__(f"The guardrail {guardrail!r} refuses this request: {why}.", param="messages")
        self.guardrail, self.why = guardrail, why


class BodyTooLarge(HeadraceError):
    code, side, retryable = "request_too_large", Side.CLIENT, False


class HeadersTooLarge(HeadraceError):
    code, side, retryable = "headers_too_large", Side.CLIENT, False


class UnsupportedMediaType(HeadraceError):
    code, side, retryable = "unsupported_media_type", Side.CLIENT, False


class MethodNotAllowed(HeadraceError):
    code, side, retryable = "method_not_allowed", Side.CLIENT, False


class RequestNotFound(HeadraceError):
    """Nothing is known of such a request, or it is somebody else's."""

    code, side, retryable = "request_not_found", Side.CLIENT, False

    def __init__(self, request: str) -> None:
        super().__init__(f"No request {request!r} is on record here, or it is another project's.")


class NotFound(HeadraceError):
    """Nothing of that id is kept here, or it is another project's. `what` is its kind, as a person would say it."""

    code, side, retryable = "not_found", Side.CLIENT, False

    def __init__(self, what: str, id: str) -> None:
        super().__init__(f"{what} with id '{id}' not found.")


class PreviousResponseNotFound(InvalidRequest):
    """What a response shall go on from is not kept here, or not any more."""

    code = "previous_response_not_found"

    def __init__(self, id: str) -> None:
        super().__init__(f"Previous response with id '{id}' not found.", param="previous_response_id")


class Conflict(HeadraceError):
    """It can't be done to what is there as it stands now."""

    code, side, retryable = "conflict", Side.CLIENT, False


class OutcomeUnknown(Conflict):
    """The first request of an Idempotency-Key may have been done, and what was answered is not known."""

    code = "outcome_unknown"


class SandboxRefused(HeadraceError):
    """What was asked of the sandbox is not done; the sentence says why."""

    code, side, retryable = "sandbox_refused", Side.CLIENT, False


class RunNotFound(HeadraceError):
    code, side, retryable = "run_not_found", Side.CLIENT, False

    def __init__(self, run: str) -> None:
        super().__init__(f"There is no run {run!r}: `headrace agent list` shows them.")


class RunBusy(HeadraceError):
    """Another process works on this run."""

    code, side, retryable = "run_busy", Side.CLIENT, False


class LeaveInvalid(HeadraceError):
    """A leave that was given ahead of time is not the one that was signed."""

    code, side, retryable = "leave_invalid", Side.CLIENT, False


class RunLogDamaged(HeadraceError):
    """An event of a run's log is not the one that was written."""

    code, side, retryable = "run_log_damaged", Side.SELF, False


class RouteNotFound(HeadraceError):
    code, side, retryable = "unknown_url", Side.CLIENT, False


class RequestTimedOut(HeadraceError):
    code, side, retryable = "request_timeout", Side.CLIENT, True


class MalformedRequest(HeadraceError):
    """The bytes on the connection are not HTTP."""

    code, side, retryable = "malformed_request", Side.CLIENT, False


class UpstreamUnreachable(HeadraceError):
    """No connection, so nothing was sent."""

    code, side, retryable = "upstream_unreachable", Side.UPSTREAM, True


class UpstreamTimedOut(HeadraceError):
    """The request was sent and the answer did not come in time: whether it will be billed is unknown."""

    code, side, retryable = "upstream_timeout", Side.UPSTREAM, True
    may_bill = True


class UpstreamOverloaded(HeadraceError):
    code, side, retryable = "upstream_overloaded", Side.UPSTREAM, True


class UpstreamFailed(HeadraceError):
    """The upstream broke: a 5xx, a cut connection, an answer that is not its dialect."""

    code, side, retryable = "upstream_failed", Side.UPSTREAM, True


class UpstreamCut(UpstreamFailed):
    """The connection ended after the request was sent and before the answer was whole: whether it will be billed is unknown."""

    code = "upstream_cut"
    may_bill = True


class UpstreamGarbled(UpstreamFailed):
    """It answered, and what it said is no answer that can be read or held: whether it will be billed is unknown."""

    code = "upstream_garbled"
    may_bill = True


class UpstreamRefused(HeadraceError):
    """The upstream says the request itself is wrong (4xx): its words go to the client as they are."""

    code, side, retryable = "upstream_refused", Side.UPSTREAM, False

    def __init__(self, message: str, *, status: int, body: bytes) -> None:
        super().__init__(message)
        self.status, self.body = status, body


class QueueFull(HeadraceError):
    """The embedded engine's waiting line is full; `retry_after_ms` is when a place is expected."""

    code, side, retryable = "queue_full", Side.SELF, True


class EngineFailed(HeadraceError):
    """The embedded engine's worker ended or broke while it worked on this; it restarts."""

    code, side, retryable = "engine_failed", Side.SELF, True


class NotReady(HeadraceError):
    code, side, retryable = "not_ready", Side.SELF, True


class StorageFull(HeadraceError):
    """No room for the usage log, so nothing may be admitted: what cannot be metered is not served."""

    code, side, retryable = "storage_full", Side.SELF, True


class NoRoomLeft(HeadraceError):
    """A person's files and pictures in threads are as much as one may have."""

    code, side, retryable = "no_room_left", Side.CLIENT, False


class SetupError(HeadraceError):
    """What stops the program from starting: its message says what, where, and what to do."""

    code, side, retryable = "setup", Side.SELF, False


class SettingsInvalid(SetupError):
    code = "settings_invalid"


class DataFolderLocked(SetupError):
    """Another server has the folder. `dying` where that one is dead and only its workers are left, which end their answers first."""

    code = "data_folder_locked"

    def __init__(self, message: str, *, dying: bool = False) -> None:
        super().__init__(message)
        self.dying = dying


class PortInUse(SetupError):
    code = "port_in_use"


class WeightsUnavailable(SetupError):
    code = "weights_unavailable"


class NoCapacity(HeadraceError):
    """Every pool that serves the model is full."""

    code, side, retryable = "no_capacity", Side.SELF, True


class InternalFailure(HeadraceError):
    """A fault of ours; the log holds the cause under the request's id."""

    code, side, retryable = "internal_error", Side.SELF, True
