"""A2A 1.0, both directions: what agents say to one another about tasks, as JSON-RPC and as HTTP with JSON.

The names are those of the specification's Protobuf file in its JSON form. Source: https://a2a-protocol.org, version 1.0.
Who sends no A2A-Version speaks 0.3, says the specification, which is another protocol.
"""

import base64
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple, TypeAlias, TypeVar

import msgspec

from headrace.core.clock import SECOND, Moment
from headrace.core.unreadable import UNREADABLE

VERSION: Final = "1.0"
CARD_PATH: Final = "/.well-known/agent-card.json"
VERSION_HEADER: Final = "a2a-version"
MEDIA_TYPE: Final = "application/a2a+json"
ID_CHARS_MAX: Final = 200
URL_CHARS_MAX: Final = 2_000
SECRET_CHARS_MAX: Final = 4_000
_SCHEME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
MOMENT_MAX: Final = 2**63 - 1
"""The last that a database holds."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

TaskState: TypeAlias = Literal[
    "TASK_STATE_UNSPECIFIED",
    "TASK_STATE_SUBMITTED",
    "TASK_STATE_WORKING",
    "TASK_STATE_COMPLETED",
    "TASK_STATE_FAILED",
    "TASK_STATE_CANCELED",
    "TASK_STATE_INPUT_REQUIRED",
    "TASK_STATE_REJECTED",
    "TASK_STATE_AUTH_REQUIRED",
]
ENDED: Final[frozenset[TaskState]] = frozenset(("TASK_STATE_COMPLETED", "TASK_STATE_FAILED", "TASK_STATE_CANCELED", "TASK_STATE_REJECTED"))
STANDS: Final[frozenset[TaskState]] = ENDED | {"TASK_STATE_INPUT_REQUIRED", "TASK_STATE_AUTH_REQUIRED"}
"""Nothing more happens by itself."""


class _Said(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A value of the protocol: what it does not know is passed over, so that later versions can be read."""


class Part(_Said, frozen=True, kw_only=True):
    """A piece of a message or of an artifact: one of `text`, `raw` (base64), `url` and `data`."""

    text: str | None = None
    raw: str | None = None
    url: str | None = None
    data: Any = None
    filename: str | None = None
    media_type: str | None = None

    def content(self) -> bytes | None:
        """The bytes of a file that came within. Raises Fault for what is no base64."""
        if self.raw is None:
            return None
        try:
            return base64.b64decode(self.raw, altchars=b"-_" if set(self.raw) & {"-", "_"} else None, validate=True)
        except ValueError:
            raise Fault(INVALID_PARAMS, "A part's raw is no base64.") from None


class Message(_Said, frozen=True, kw_only=True):
    message_id: str = ""
    role: Literal["ROLE_UNSPECIFIED", "ROLE_USER", "ROLE_AGENT"] = "ROLE_UNSPECIFIED"
    parts: tuple[Part, ...] = ()
    context_id: str | None = None
    task_id: str | None = None


class Status(_Said, frozen=True, kw_only=True):
    state: TaskState
    message: Message | None = None
    timestamp: str | None = None


class Artifact(_Said, frozen=True, kw_only=True):
    artifact_id: str
    name: str | None = None
    description: str | None = None
    parts: tuple[Part, ...] = ()


class Task(_Said, frozen=True, kw_only=True):
    id: str
    context_id: str = ""
    status: Status
    artifacts: tuple[Artifact, ...] = ()
    history: tuple[Message, ...] = ()


class StatusUpdate(_Said, frozen=True, kw_only=True):
    task_id: str
    context_id: str = ""
    status: Status


class ArtifactUpdate(_Said, frozen=True, kw_only=True):
    """`append`: it goes on from what was told of this artifact before, else it takes its place."""

    task_id: str
    context_id: str = ""
    artifact: Artifact
    append: bool = False
    last_chunk: bool = False


class Streamed(_Said, frozen=True, kw_only=True):
    """One of these."""

    task: Task | None = None
    message: Message | None = None
    status_update: StatusUpdate | None = None
    artifact_update: ArtifactUpdate | None = None


class Authentication(_Said, frozen=True, kw_only=True):
    """What an `Authorization` header says."""

    scheme: str = ""
    credentials: str = ""


class PushConfig(_Said, frozen=True, kw_only=True):
    """An address that is told what becomes of a task. `id` is its name, `token` what it knows the messages by."""

    id: str = ""
    task_id: str = ""
    url: str = ""
    token: str = ""
    authentication: Authentication | None = None

    def check(self) -> None:
        """Raises Fault for what no header could say, or is too long."""
        shown = self.authentication or Authentication()
        if not self.id.isprintable() or len(self.id) > ID_CHARS_MAX:
            raise Fault(INVALID_PARAMS, f"An id has at most {ID_CHARS_MAX} letters, all of which can be seen.")
        if len(self.url) > URL_CHARS_MAX:
            raise Fault(INVALID_PARAMS, f"A url has at most {URL_CHARS_MAX:,} letters.")
        for name, said in (("token", self.token), ("authentication.credentials", shown.credentials)):
            if not (said.isascii() and said.isprintable()) or len(said) > SECRET_CHARS_MAX:
                raise Fault(INVALID_PARAMS, f"What {name} says goes into a header: at most {SECRET_CHARS_MAX:,} letters of ASCII.")
        if self.authentication is not None and not _SCHEME.fullmatch(shown.scheme):
            raise Fault(INVALID_PARAMS, "authentication.scheme is one of HTTP's, such as Bearer.")


class Configuration(_Said, frozen=True, kw_only=True):
    history_length: int | None = None
    return_immediately: bool = False
    task_push_notification_config: PushConfig | None = None


class SendMessage(_Said, frozen=True, kw_only=True):
    message: Message
    configuration: Configuration | None = None


class Answered(_Said, frozen=True, kw_only=True):
    """What a message is answered with: a task, or at once a message."""

    task: Task | None = None
    message: Message | None = None


class OneTask(_Said, frozen=True, kw_only=True):
    """What `GetTask`, `CancelTask` and `SubscribeToTask` ask for."""

    id: str
    history_length: int | None = None


class OnePush(_Said, frozen=True, kw_only=True):
    """What `GetTaskPushNotificationConfig` and `DeleteTaskPushNotificationConfig` ask for."""

    task_id: str
    id: str


class ListPushes(_Said, frozen=True, kw_only=True):
    task_id: str


class ListedPushes(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    configs: tuple[PushConfig, ...]
    next_page_token: str = ""


class ListTasks(_Said, frozen=True, kw_only=True):
    context_id: str | None = None
    status: TaskState | None = None
    page_size: int | None = None
    page_token: str | None = None
    history_length: int | None = None
    status_timestamp_after: str | None = None
    include_artifacts: bool = False


class Listed(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    tasks: tuple[Task, ...]
    next_page_token: str
    page_size: int
    total_size: int


class Interface(_Said, frozen=True, kw_only=True):
    url: str
    protocol_binding: str = ""
    protocol_version: str = ""


class Skill(_Said, frozen=True, kw_only=True):
    id: str
    name: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()


class Card(_Said, frozen=True, kw_only=True):
    """An agent as it describes itself."""

    name: str
    description: str = ""
    version: str = ""
    supported_interfaces: tuple[Interface, ...] = ()
    capabilities: dict[str, Any] = {}
    security_schemes: dict[str, Any] = {}
    security_requirements: tuple[Any, ...] = ()
    default_input_modes: tuple[str, ...] = ()
    default_output_modes: tuple[str, ...] = ()
    skills: tuple[Skill, ...] = ()


class Kind(NamedTuple):
    """One kind of failure: its number in JSON-RPC, its status in HTTP and in Google's terms, and its name there."""

    code: int
    http: int
    status: str
    reason: str


TASK_NOT_FOUND: Final = Kind(-32001, 404, "NOT_FOUND", "TASK_NOT_FOUND")
TASK_NOT_CANCELABLE: Final = Kind(-32002, 400, "FAILED_PRECONDITION", "TASK_NOT_CANCELABLE")
UNSUPPORTED: Final = Kind(-32004, 400, "FAILED_PRECONDITION", "UNSUPPORTED_OPERATION")
CONTENT_NOT_SUPPORTED: Final = Kind(-32005, 400, "INVALID_ARGUMENT", "CONTENT_TYPE_NOT_SUPPORTED")
NO_EXTENDED_CARD: Final = Kind(-32007, 400, "FAILED_PRECONDITION", "EXTENDED_AGENT_CARD_NOT_CONFIGURED")
VERSION_NOT_SUPPORTED: Final = Kind(-32009, 400, "FAILED_PRECONDITION", "VERSION_NOT_SUPPORTED")
NOT_JSON: Final = Kind(-32700, 400, "INVALID_ARGUMENT", "PARSE_ERROR")
INVALID_REQUEST: Final = Kind(-32600, 400, "INVALID_ARGUMENT", "INVALID_REQUEST")
METHOD_NOT_FOUND: Final = Kind(-32601, 404, "NOT_FOUND", "METHOD_NOT_FOUND")
INVALID_PARAMS: Final = Kind(-32602, 400, "INVALID_ARGUMENT", "INVALID_PARAMS")
INTERNAL: Final = Kind(-32603, 500, "INTERNAL", "INTERNAL_ERROR")


class Fault(Exception):
    """What the other side did wrong, or meets here."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind, self.message = kind, message

    @property
    def details(self) -> list[dict[str, Any]]:
        return [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": self.kind.reason, "domain": "a2a-protocol.org"}]


class Call(msgspec.Struct, frozen=True):
    """A call of JSON-RPC. `id` is given back as it came."""

    method: str
    id: str | int | None = None
    jsonrpc: str = ""
    params: msgspec.Raw = msgspec.Raw(b"{}")


Asked = TypeVar("Asked", bound=msgspec.Struct)


def call_of(body: bytes) -> Call:
    """Raises Fault."""
    try:
        call = msgspec.json.decode(body, type=Call)
    except msgspec.ValidationError as wrong:
        raise Fault(INVALID_REQUEST, f"This is no call of JSON-RPC: {wrong}.") from None
    except UNREADABLE as wrong:
        raise Fault(NOT_JSON, f"This is no JSON: {wrong}.") from None
    if call.jsonrpc != "2.0":
        raise Fault(INVALID_REQUEST, "jsonrpc must be 2.0.")
    return call


def params_of(content: bytes | msgspec.Raw, kind: type[Asked]) -> Asked:
    """Raises Fault."""
    try:
        return msgspec.json.decode(content or b"{}", type=kind)
    except UNREADABLE as wrong:
        raise Fault(INVALID_PARAMS, f"The parameters can't be read: {wrong}.") from None


def query_of(params: dict[str, str], kind: type[Asked]) -> Asked:
    """The same from a query, whose values are all text. Raises Fault."""
    try:
        return msgspec.convert(params, kind, strict=False)
    except msgspec.ValidationError as wrong:
        raise Fault(INVALID_PARAMS, f"The parameters can't be read: {wrong}.") from None


def check_version(said: str) -> None:
    """Raises Fault."""
    if said.partition(".")[0] != "1":
        spoken = said or "none, which means 0.3"
        raise Fault(VERSION_NOT_SUPPORTED, f"A2A {VERSION} is spoken here; A2A-Version says {spoken}.")


def result(id: str | int | None, value: Any) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", "id": id, "result": value})


def failure(id: str | int | None, fault: Fault) -> bytes:
    """As JSON-RPC says it."""
    error = {"code": fault.kind.code, "message": fault.message, "data": fault.details}
    return msgspec.json.encode({"jsonrpc": "2.0", "id": id, "error": error})


def refusal(fault: Fault) -> bytes:
    """As HTTP with JSON says it."""
    kind = fault.kind
    return msgspec.json.encode({"error": {"code": kind.http, "status": kind.status, "message": fault.message, "details": fault.details}})


def asked(id: str, method: str, params: msgspec.Struct) -> bytes:
    """A call of ours."""
    return msgspec.json.encode({"jsonrpc": "2.0", "id": id, "method": method, "params": params})


def push_headers(id: str, token: str | None, scheme: str | None, credentials: str | None) -> dict[str, str]:
    """All that a message to an address says beside its body. `id` is the same at every try. How the token is called the specification
    leaves open: a2a-sdk (Python) and a2a-go read it under different names. Both send plain JSON."""
    said = {"content-type": "application/json", "user-agent": "headrace", VERSION_HEADER: VERSION, "webhook-id": id}
    if token:
        said["x-a2a-notification-token"] = said["a2a-notification-token"] = token
    if scheme and credentials:
        said["authorization"] = f"{scheme} {credentials}"
    return said


class _Reply(msgspec.Struct):
    result: msgspec.Raw = msgspec.Raw(b"{}")
    error: "_Error | None" = None


class _Error(msgspec.Struct):
    message: str = ""
    code: int = 0


def answer(content: bytes, kind: type[Asked]) -> Asked:
    """What our call was answered with. Raises Fault with the other side's words, or for what is no answer."""
    try:
        reply = msgspec.json.decode(content, type=_Reply)
        if reply.error is not None:
            raise Fault(Kind(reply.error.code, 502, "UNKNOWN", "ANSWERED"), reply.error.message)
        return msgspec.json.decode(reply.result, type=kind)
    except UNREADABLE as wrong:
        raise Fault(INTERNAL, f"it answers what is no A2A {VERSION}: {wrong}") from None


def time_of(moment: Moment) -> str:
    """RFC 3339, UTC, to the millisecond."""
    return datetime.fromtimestamp(moment / SECOND, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment_of(time: str) -> Moment:
    """Of what is before or after all moments, the first or the last. Raises Fault."""
    try:
        at = datetime.fromisoformat(time)
    except ValueError:
        raise Fault(INVALID_PARAMS, f"{time!r} is no time such as 2026-11-27T10:00:00Z.") from None
    since = (at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH
    return min(max(since // timedelta(microseconds=1) * 1_000, -MOMENT_MAX), MOMENT_MAX)
