"""What a client asks for, as an Ask: who asks, in which class, under which rules, needing what.

A request can only narrow what its key may do: the headers that name jurisdictions, vendors or a class of data are held together with the
rules of the settings, and one that can't be read is refused, never ignored.
"""

from collections.abc import Mapping
from typing import get_args
from zlib import crc32

import msgspec

from headrace.core.ask import NEEDS_NOTHING, Ask, Operation
from headrace.core.clock import MS, Clock
from headrace.core.errors import InvalidRequest, ModelNotFound
from headrace.core.identity import Principal, TrafficClass
from headrace.core.rules import DATA_CLASSES, NO_RULES, Capability, Rules
from headrace.gateway import Gateway, World
from headrace.routing import TIERS
from headrace.wire import openai_embeddings
from headrace.wire.openai_chat import ChatHead, read_head

FRAMING_TOKENS_MAX = 512
"""What a chat template and our own words about tools may add to a prompt, beyond the bytes of the request."""
CHOICES_MAX = 128
TOKENS_MAX = 1 << 31
PREFIX_BYTES = 1_024
"""Conversations whose first messages agree so far are taken to share a prefix."""
CACHED_BYTES_MIN = 4_096
"""Vendors cache prompts from 1,024 tokens on; where a shorter one goes makes no difference."""
DEADLINE_MS_MAX = 86_400_000
NAMES_MAX, NAME_SIZE_MAX = 64, 64
"""Each kind of request is kept, in memory and in the usage log: what a client may name has an end."""
CLASSES: frozenset[str] = frozenset(get_args(TrafficClass))

CLASS, JURISDICTIONS, VENDORS = b"x-headrace-class", b"x-headrace-jurisdictions", b"x-headrace-vendors"
DATA_CLASS, ZERO_RETENTION = b"x-headrace-data-class", b"x-headrace-zero-retention"
STRICT, DEADLINE, SESSION = b"x-headrace-strict", b"x-headrace-deadline-ms", b"x-headrace-session"
OURS = b"x-headrace"
HEADERS = frozenset((CLASS, JURISDICTIONS, VENDORS, DATA_CLASS, ZERO_RETENTION, STRICT, DEADLINE, SESSION))


class Wishes(msgspec.Struct, frozen=True):
    """What the headers of one request say."""

    traffic_class: TrafficClass | None = None
    rules: Rules = NO_RULES
    strict: bool = False
    deadline_ms: int | None = None
    session: bytes = b""


NO_WISHES = Wishes()


class Reader:
    """Reads requests for one gateway. What is the same for all requests of a key is worked out once, until the settings change."""

    def __init__(self, gateway: Gateway, clock: Clock) -> None:
        self._gateway, self._clock = gateway, clock
        self._world: World | None = None
        self._rules: dict[tuple[str, str, str], Rules] = {}

    def chat(self, request: str, principal: Principal, headers: Mapping[bytes, bytes], body: bytes) -> Ask:
        """A chat completion. Raises InvalidRequest and its kin."""
        head = read_head(body)
        world, wishes = (
            self._checked(head.model, "chat"),
            _wishes(headers),
        )
        traffic_class = wishes.traffic_class or (TIERS.get(head.service_tier) if head.service_tier else None) or principal.traffic_class
        partial = world.board.partial(head.model)
        return Ask(
            request=request,
            operation="chat",
            principal=principal,
            model=head.model,
            stream=bool(head.stream),
            include_usage=bool(head.stream_options and head.stream_options.include_usage),
            tokens_in_max=len(body) + FRAMING_TOKENS_MAX,
            tokens_out_max=_tokens_out_max(head),
            body=body,
            traffic_class=traffic_class,
            rules=self._rules_of(world, principal, head.model, traffic_class, wishes),
            needs=_needs(head) & partial if partial else NEEDS_NOTHING,
            affinity=_affinity(head, wishes),
            deadline=None if wishes.deadline_ms is None else self._clock.instant() + wishes.deadline_ms * MS,
            strict=wishes.strict or world.terms.strict,
        )

    def embeddings(self, request: str, principal: Principal, headers: Mapping[bytes, bytes], body: bytes) -> Ask:
        """Embeddings. Raises InvalidRequest and its kin."""
        asked = openai_embeddings.read_request(body)
        world, wishes = (
            self._checked(asked.model, "embeddings"),
            _wishes(headers),
        )
        traffic_class = wishes.traffic_class or principal.traffic_class
        return Ask(
            request=request,
            operation="embeddings",
            principal=principal,
            model=asked.model,
            stream=False,
            include_usage=True,
            tokens_in_max=len(body) + FRAMING_TOKENS_MAX,
            tokens_out_max=0,
            body=body,
            traffic_class=traffic_class,
            rules=self._rules_of(world, principal, asked.model, traffic_class, wishes),
            deadline=None if wishes.deadline_ms is None else self._clock.instant() + wishes.deadline_ms * MS,
            strict=wishes.strict or world.terms.strict,
        )

    def checked(self, model: str, operation: Operation = "chat") -> World:
        """The world in which `model` does that. Raises ModelNotFound or InvalidRequest."""
        return self._checked(model, operation)

    def _checked(self, model: str, operation: Operation) -> World:
        world = self._gateway.world
        profile = world.snapshot.models.get(model)
        if profile is None:
            raise ModelNotFound(model)
        if operation not in profile.operations:
            does = " and ".join(sorted(profile.operations))
            raise InvalidRequest(f"The model `{model}` serves {does}, not {operation}.", param="model")
        return world

    def _rules_of(self, world: World, principal: Principal, model: str, traffic_class: TrafficClass, wishes: Wishes) -> Rules:
        if world is not self._world:
            self._world, self._rules = world, {}
        rules = self._rules.get((principal.key, model, traffic_class))
        if rules is None:
            rules = world.rules_for(principal, model, traffic_class)
            self._rules[principal.key, model, traffic_class] = rules
        return rules if wishes.rules is NO_RULES else rules.and_(wishes.rules)


def _wishes(headers: Mapping[bytes, bytes]) -> Wishes:
    ours = [name for name in headers if name[:10] == OURS]
    if not ours:
        return NO_WISHES
    for name in ours:
        if name not in HEADERS:
            shown = name.decode("latin-1")
            known = ", ".join(sorted(one.decode() for one in HEADERS))
            raise InvalidRequest(f"Unknown or repeated header {shown}: known are {known}, once each.", param=shown)
    narrowed = not headers.keys().isdisjoint((JURISDICTIONS, VENDORS, DATA_CLASS, ZERO_RETENTION))
    return Wishes(
        traffic_class=_class(headers),
        rules=_rules(headers) if narrowed else NO_RULES,
        strict=_truth(headers, STRICT),
        deadline_ms=_deadline_ms(headers),
        session=headers.get(SESSION, b"").strip(),
    )


def _rules(headers: Mapping[bytes, bytes]) -> Rules:
    data_class = _text(headers, DATA_CLASS).lower()
    if DATA_CLASS in headers and data_class not in DATA_CLASSES:
        raise _unreadable(DATA_CLASS, f"one of {', '.join(DATA_CLASSES)}")
    return Rules(
        names=("request",),
        jurisdictions=_names(headers, JURISDICTIONS),
        vendors=_names(headers, VENDORS),
        data_class=next((one for one in DATA_CLASSES if one == data_class), None),
        zero_retention=_truth(headers, ZERO_RETENTION),
    )


def _class(headers: Mapping[bytes, bytes]) -> TrafficClass | None:
    asked = _text(headers, CLASS).lower()
    if CLASS in headers and asked not in CLASSES:
        raise _unreadable(CLASS, f"one of {', '.join(get_args(TrafficClass))}")
    return next((one for one in get_args(TrafficClass) if one == asked), None)


def _names(headers: Mapping[bytes, bytes], header: bytes) -> frozenset[str] | None:
    if header not in headers:
        return None
    names = frozenset(name for part in _text(headers, header).lower().split(",") if (name := part.strip()))
    if not 1 <= len(names) <= NAMES_MAX or max(map(len, names)) > NAME_SIZE_MAX:
        raise _unreadable(header, f"1 to {NAMES_MAX} names separated by commas, of at most {NAME_SIZE_MAX} letters each")
    return names


def _truth(headers: Mapping[bytes, bytes], header: bytes) -> bool:
    said = _text(headers, header).lower()
    if header in headers and said not in ("true", "1", "false", "0"):
        raise _unreadable(header, "true or false")
    return said in ("true", "1")


def _deadline_ms(headers: Mapping[bytes, bytes]) -> int | None:
    said = _text(headers, DEADLINE)
    if DEADLINE not in headers:
        return None
    if not (said.isascii() and said.isdigit() and len(said) <= 9) or not 1 <= int(said) <= DEADLINE_MS_MAX:
        raise _unreadable(DEADLINE, f"milliseconds from now, 1 to {DEADLINE_MS_MAX}")
    return int(said)


def _text(headers: Mapping[bytes, bytes], header: bytes) -> str:
    return headers.get(header, b"").decode("latin-1").strip()


def _unreadable(header: bytes, wanted: str) -> InvalidRequest:
    name = header.decode()
    return InvalidRequest(f"Invalid value for the header {name}: it must be {wanted}.", param=name)


def _needs(head: ChatHead) -> frozenset[Capability]:
    """What a pool must be able to do for this request."""
    messages = bytes(head.messages)
    found: dict[Capability, bool] = {
        "tools": len(bytes(head.tools)) > 4,  # more than `null` or `[]`
        "images": b'"image_url"' in messages,
        "audio": b'"input_audio"' in messages,
        "json_schema": b'"json_schema"' in bytes(head.response_format),
        "reasoning": head.reasoning_effort not in (None, "none"),
        "logprobs": bool(head.logprobs),
    }
    return frozenset(name for name, needed in found.items() if needed)


def _affinity(head: ChatHead, wishes: Wishes) -> int:
    """A number that requests share which share a prefix: by the name that the client gave it, else by the first bytes of its messages."""
    if wishes.session:
        return crc32(wishes.session) | _NAMED
    if head.prompt_cache_key:
        return crc32(head.prompt_cache_key.encode("utf-8", "surrogatepass")) | _NAMED
    messages = memoryview(head.messages)
    return crc32(messages[:PREFIX_BYTES]) | _NAMED if len(messages) >= CACHED_BYTES_MIN else 0


_NAMED = 1 << 32  # never 0, which means: no prefix


def _tokens_out_max(head: ChatHead) -> int | None:
    if memoryview(head.messages)[:1].tobytes() != b"[":
        raise InvalidRequest("Invalid value for 'messages': expected an array of messages.", param="messages")
    choices = 1 if head.n is None else head.n
    if not 1 <= choices <= CHOICES_MAX:
        raise InvalidRequest(f"Invalid value for 'n': it must be 1 to {CHOICES_MAX}.", param="n")
    asked = head.max_completion_tokens if head.max_completion_tokens is not None else head.max_tokens
    if asked is None:
        return None
    if not 1 <= asked <= TOKENS_MAX:
        param = "max_tokens" if head.max_completion_tokens is None else "max_completion_tokens"
        raise InvalidRequest(f"Invalid value for '{param}': it must be 1 to {TOKENS_MAX}.", param=param)
    return asked * choices
