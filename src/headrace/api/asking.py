"""What a client asks for, as an Ask: who asks, in which class, under which rules, needing what.

A request can only narrow what its key may do: the headers that name jurisdictions, vendors or a class of data are held together with the
rules of the settings, and one that can't be read is refused, never ignored.
"""

from collections.abc import Mapping
from typing import NamedTuple, get_args
from zlib import crc32

import msgspec

from headrace.api.heads import Headers
from headrace.core.ask import NEEDS_NOTHING, Ask, Operation
from headrace.core.clock import MS, Clock
from headrace.core.errors import InvalidRequest, ModelNotFound, NotAllowed, RouteNotFound
from headrace.core.identity import Principal, TrafficClass
from headrace.core.money import pico_of
from headrace.core.native import Native, Post, Units
from headrace.core.rules import DATA_CLASSES, NO_RULES, Capability, Rules
from headrace.core.usage import Usage
from headrace.gateway import Gateway, World
from headrace.metering import tier_of
from headrace.portfolio import ModelProfile, PathBound
from headrace.routing import TIERS
from headrace.wire import openai_embeddings, posts
from headrace.wire.openai_caps import pictures_bytes, without_max_cost
from headrace.wire.openai_chat import ChatHead, read_head

FRAMING_TOKENS_MAX = 512
"""What a chat template and our own words about tools may add to a prompt, beyond the bytes of the request."""
CHOICES_MAX = 128
TOKENS_MAX = 1 << 31
MESSAGES = b'"messages"'
PREFIX_BYTES = 1_024
"""Conversations whose first messages agree so far are taken to share a prefix."""
CACHED_BYTES_MIN = 4_096
"""Vendors cache prompts from 1,024 tokens on; where a shorter one goes makes no difference."""
DEADLINE_MS_MAX = 86_400_000
NAMES_MAX, NAME_SIZE_MAX = 64, 64
USER_SIZE_MAX = 512
"""Each kind of request is kept, in memory and in the usage log: what a client may name has an end."""
STANDINGS_MAX = 16_384
CLASSES: frozenset[str] = frozenset(get_args(TrafficClass))

CLASS, JURISDICTIONS, VENDORS = b"x-headrace-class", b"x-headrace-jurisdictions", b"x-headrace-vendors"
DATA_CLASS, ZERO_RETENTION = b"x-headrace-data-class", b"x-headrace-zero-retention"
STRICT, DEADLINE, SESSION = b"x-headrace-strict", b"x-headrace-deadline-ms", b"x-headrace-session"
MAX_COST, CACHE = b"x-headrace-max-cost", b"x-headrace-cache"
CACHED = ("on", "refresh", "off")
OURS = b"x-headrace"
HEADERS = frozenset((CLASS, JURISDICTIONS, VENDORS, DATA_CLASS, ZERO_RETENTION, STRICT, DEADLINE, SESSION, MAX_COST, CACHE))


class Wishes(msgspec.Struct, frozen=True):
    """What the headers of one request say."""

    traffic_class: TrafficClass | None = None
    rules: Rules = NO_RULES
    strict: bool = False
    deadline_ms: int | None = None
    session: bytes = b""
    max_cost_pico: int | None = None
    cache: str = ""


NO_WISHES = Wishes()


class Standing(NamedTuple):
    """What is the same for all requests of a key for a model in a class: the settings' rules, what the model does, which capabilities some
    of its pools lack, and whether a request must be translated whole."""

    principal: Principal
    rules: Rules
    operations: frozenset[str]
    partial: frozenset[Capability]
    strict: bool


class Reader:
    """Reads requests for one gateway. What is the same for all requests of a key is worked out once, until the settings change."""

    def __init__(self, gateway: Gateway, clock: Clock) -> None:
        self._gateway, self._clock = gateway, clock
        self._world: World | None = None
        self._standings: dict[tuple[str, str, str], Standing] = {}

    def chat(self, request: str, principal: Principal, headers: Mapping[bytes, bytes], body: bytes) -> Ask:
        """A chat completion. Raises InvalidRequest and its kin."""
        head, wishes = read_head(body), _wishes(headers)
        traffic_class = wishes.traffic_class or (TIERS.get(head.service_tier) if head.service_tier else None) or principal.traffic_class
        standing = self._standing(principal, head.model, traffic_class, "chat")
        partial, rules, options = standing.partial, standing.rules, head.stream_options
        user, max_cost_pico = head.safety_identifier or head.user, wishes.max_cost_pico
        if head.max_cost is not None:
            body, max_cost_pico = without_max_cost(body), _least(head.max_cost, max_cost_pico)
        return Ask(
            request=request,
            operation="chat",
            principal=principal,
            model=head.model,
            stream=head.stream is True,
            include_usage=options is not None and options.include_usage is True,
            tokens_in_max=len(body) - pictures_bytes(body, bytes(head.messages)) + FRAMING_TOKENS_MAX,
            tokens_out_max=_tokens_out_max(head),
            body=body,
            traffic_class=traffic_class,
            rules=rules if wishes.rules is NO_RULES else rules.and_(wishes.rules),
            needs=_needs(head) & partial if partial else NEEDS_NOTHING,
            affinity=_affinity(head, wishes, body),
            deadline=None if wishes.deadline_ms is None else self._clock.instant() + wishes.deadline_ms * MS,
            strict=wishes.strict or standing.strict,
            user=_name(user, "user") if user else "",
            session=_name(wishes.session.decode("latin-1"), SESSION.decode()) if wishes.session else "",
            max_cost_pico=max_cost_pico,
            choices=head.n or 1,
            tier=tier_of(head.service_tier) if head.service_tier else None,
        )

    def embeddings(self, request: str, principal: Principal, headers: Mapping[bytes, bytes], body: bytes) -> Ask:
        """Embeddings. Raises InvalidRequest and its kin."""
        asked, wishes = openai_embeddings.read_request(body), _wishes(headers)
        body = without_max_cost(body)
        traffic_class = wishes.traffic_class or principal.traffic_class
        standing = self._standing(principal, asked.model, traffic_class, "embeddings")
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
            rules=standing.rules if wishes.rules is NO_RULES else standing.rules.and_(wishes.rules),
            deadline=None if wishes.deadline_ms is None else self._clock.instant() + wishes.deadline_ms * MS,
            strict=wishes.strict or standing.strict,
            user=_name(asked.user or "", "user"),
            session=_name(wishes.session.decode("latin-1"), SESSION.decode()) if wishes.session else "",
            max_cost_pico=_least(asked.max_cost, wishes.max_cost_pico),
        )

    def post(self, request: str, principal: Principal, headers: Mapping[bytes, bytes], path: str, body: bytes) -> Ask:
        """What is posted to any other `path`, below the API's root. Raises InvalidRequest and its kin, RouteNotFound."""
        operation = posts.PATHS.get(path, "pass_through")
        asked, wishes = posts.read_post(path, headers.get(b"content-type", b""), body), _wishes(headers)
        body = b"" if asked.parts else without_max_cost(body)
        model = asked.model or self._only_model(principal, operation, path)
        traffic_class = wishes.traffic_class or principal.traffic_class
        standing = self._standing(principal, model, traffic_class, operation if operation != "pass_through" else None)
        bounds = self._path_bounds(model, path) if operation == "pass_through" else ()
        profile = self._gateway.world.snapshot.models[model]
        bound, units = _post_bound(operation, asked, profile, bounds)
        post = Post(
            path=path,
            detail=posts.detail_of(path, asked.size),
            parts=asked.parts,
            bound=bound,
            units=units,
            bounded=operation != "pass_through" or all(one is not None for one in bounds),
        )
        untold = f"it does not offer {path}"
        return Ask(
            request=request,
            operation=operation,
            principal=principal,
            model=model,
            stream=asked.stream,
            include_usage=True,
            tokens_in_max=bound.tokens_in,
            tokens_out_max=bound.tokens_out,
            body=body,
            traffic_class=traffic_class,
            rules=standing.rules if wishes.rules is NO_RULES else standing.rules.and_(wishes.rules),
            needs=frozenset((path,)),
            deadline=None if wishes.deadline_ms is None else self._clock.instant() + wishes.deadline_ms * MS,
            strict=wishes.strict or standing.strict,
            user=_name(asked.user, "user"),
            session=_name(wishes.session.decode("latin-1"), SESSION.decode()) if wishes.session else "",
            max_cost_pico=_least(asked.max_cost, wishes.max_cost_pico),
            native=Native(dialect="posts", body=body, untold=untold, post=post),
        )

    def _only_model(self, principal: Principal, operation: Operation, path: str) -> str:
        """The model of a request that names none: there is only one that could be meant."""
        snapshot = self._gateway.world.snapshot
        if operation == "pass_through":
            serving = {model for pool in snapshot.pools.values() if path in pool.paths for model in pool.models}
        else:
            serving = {profile.name for profile in snapshot.models.values() if operation in profile.operations}
        serving = {model for model in serving if principal.may_ask(model)}
        if len(serving) != 1:
            raise InvalidRequest("Missing required parameter: 'model'.", param="model")
        return serving.pop()

    def _path_bounds(self, model: str, path: str) -> tuple[PathBound | None, ...]:
        """What the settings say of a vendor's path, at each pool of the model that has it. Raises RouteNotFound where none has."""
        pools = self._gateway.world.snapshot.pools_of.get(model, ())
        bounds = tuple(pool.paths[path] for pool in pools if path in pool.paths)
        if not bounds:
            raise RouteNotFound(f"No pool of {model} passes {path} on: name it in the pool's pass_through.")
        return bounds

    def checked(self, model: str) -> None:
        """Raises ModelNotFound, or InvalidRequest for a model that does not chat."""
        profile = self._gateway.world.snapshot.models.get(model)
        if profile is None:
            raise ModelNotFound(model)
        _check_operation(model, profile.operations, "chat")

    def _standing(self, principal: Principal, model: str, traffic_class: TrafficClass, operation: Operation | None) -> Standing:
        """Raises ModelNotFound, NotAllowed for a class that the key may not ask for, and InvalidRequest for a model that serves something
        else than `operation`."""
        world = self._gateway.world
        if world is not self._world:
            self._world, self._standings = world, {}
        standing = self._standings.get((principal.key, model, traffic_class))
        if standing is None or (standing.principal is not principal and standing.principal != principal):
            standing = self._looked_up(world, principal, model, traffic_class)
        if operation is not None and operation not in standing.operations:
            _check_operation(model, standing.operations, operation)
        return standing

    def _looked_up(self, world: World, principal: Principal, model: str, traffic_class: TrafficClass) -> Standing:
        profile = world.snapshot.models.get(model)
        if profile is None or not principal.may_ask(model):
            raise ModelNotFound(model)
        _check_class(principal, traffic_class)
        standing = Standing(
            principal=principal,
            rules=world.rules_for(principal, model, traffic_class),
            operations=profile.operations,
            partial=world.board.partial(model),
            strict=world.terms.strict,
        )
        if len(self._standings) >= STANDINGS_MAX:
            self._standings.clear()
        self._standings[principal.key, model, traffic_class] = standing
        return standing


def natively_in_max(ask: Ask, body: bytes) -> int:
    """The most tokens of a prompt that may go as its client's own `body`, of which `ask` is made as a chat. The pictures that stand in the
    chat stand in it, too, and are no tokens of text in either."""
    pictures = len(ask.body) + FRAMING_TOKENS_MAX - ask.tokens_in_max
    return max(ask.tokens_in_max, len(body) - pictures)


def _check_operation(model: str, operations: frozenset[str], operation: Operation) -> None:
    if operation not in operations:
        does = " and ".join(sorted(operations))
        raise InvalidRequest(f"The model `{model}` serves {does}, not {operation}.", param="model")


def narrowed(headers: Mapping[bytes, bytes]) -> Rules:
    """What a request's own headers say about where its data may go. Raises InvalidRequest."""
    return _wishes(headers).rules


def _post_bound(
    operation: Operation, asked: posts.Asked, profile: ModelProfile, bounds: tuple[PathBound | None, ...]
) -> tuple[Usage, Units]:
    """The most that a request can use: each picture and second at more than any vendor counts, an answer at what its model may say."""
    text, said = asked.tokens + FRAMING_TOKENS_MAX, profile.tokens_out_max
    match operation:
        case "moderations":
            return Usage(text, image_in=asked.shown * posts.IMAGE_TOKENS_MAX), ()
        case "images":
            shown, drawn = asked.shown * posts.IMAGE_TOKENS_MAX, asked.drawn * posts.IMAGE_TOKENS_MAX
            return Usage(text, output=said if asked.authored else 0, image_in=shown, image_out=drawn), ((posts.IMAGE, asked.drawn),)
        case "speech":
            return Usage(text, audio_out=said), ((posts.CHARACTER, asked.characters),)
        case "transcriptions":
            heard = profile.audio_s_max * posts.AUDIO_TOKENS_PER_S_MAX
            return Usage(text, output=said, audio_in=heard), ((posts.SECOND, profile.audio_s_max),)
        case _:
            told = [one for one in bounds if one is not None]
            units: dict[str, int] = {}
            for one in told:
                for name, most in one.units_max.items():
                    units[name] = max(most, units.get(name, 0))
            tokens_in = max((one.tokens_in_max for one in told), default=0)
            tokens_out = max((one.tokens_out_max for one in told), default=0) if len(told) == len(bounds) else asked.cap or said
            return Usage(max(text, tokens_in), output=tokens_out), tuple(sorted(units.items()))


def _wishes(headers: Mapping[bytes, bytes]) -> Wishes:
    if not isinstance(headers, Headers):
        return _read_wishes(headers)
    if not isinstance(headers.wishes, Wishes):
        headers.wishes = _read_wishes(headers)
    return headers.wishes


def _read_wishes(headers: Mapping[bytes, bytes]) -> Wishes:
    ours = [name for name in headers if name[:10] == OURS]
    if not ours:
        return NO_WISHES
    for name in ours:
        if name not in HEADERS:
            shown = name.decode("latin-1")
            known = ", ".join(sorted(one.decode() for one in HEADERS))
            raise InvalidRequest(f"Unknown or repeated header {shown}: known are {known}, once each.", param=shown)
    narrows = not headers.keys().isdisjoint((JURISDICTIONS, VENDORS, DATA_CLASS, ZERO_RETENTION))
    return Wishes(
        traffic_class=_class(headers),
        rules=_rules(headers) if narrows else NO_RULES,
        strict=_truth(headers, STRICT),
        deadline_ms=_deadline_ms(headers),
        session=headers.get(SESSION, b"").strip(),
        max_cost_pico=_max_cost(_text(headers, MAX_COST), MAX_COST.decode()) if MAX_COST in headers else None,
        cache=_cache(headers),
    )


def cache_wish(headers: Mapping[bytes, bytes]) -> str:
    """What a request says of answers that are kept: `on`, `refresh`, `off`, or nothing."""
    return _wishes(headers).cache


def _cache(headers: Mapping[bytes, bytes]) -> str:
    said = _text(headers, CACHE).lower()
    if CACHE in headers and said not in CACHED:
        raise _unreadable(CACHE, f"one of {', '.join(CACHED)}")
    return said


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


def _check_class(principal: Principal, traffic_class: str) -> None:
    if principal.classes is not None and traffic_class not in principal.classes:
        raise NotAllowed(f"This key may not ask in the class {traffic_class}: it may in {', '.join(sorted(principal.classes))}.")


def _least(said: str | float | None, header_pico: int | None) -> int | None:
    """What a request may cost by its member `max_cost` and by its header."""
    if said is None:
        return header_pico
    asked_pico = _max_cost(str(said), "max_cost")
    return asked_pico if header_pico is None else min(asked_pico, header_pico)


def _max_cost(said: str, param: str) -> int:
    try:
        return pico_of(said)
    except ValueError as wrong:
        raise InvalidRequest(f"Invalid value for {param}: {wrong}.", param=param) from None


def _name(said: str, param: str) -> str:
    """What budgets and limits are kept by has an end."""
    if len(said) > USER_SIZE_MAX:
        raise InvalidRequest(f"Invalid value for {param}: it may have {USER_SIZE_MAX} characters.", param=param)
    return said


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


def _affinity(head: ChatHead, wishes: Wishes, body: bytes) -> int:
    """A number that requests share which share a prefix: by the name that the client gave it, else by the first bytes of its messages."""
    if wishes.session:
        return crc32(wishes.session) | _NAMED
    if head.prompt_cache_key:
        return crc32(head.prompt_cache_key.encode("utf-8", "surrogatepass")) | _NAMED
    if len(body) < CACHED_BYTES_MIN:
        return 0
    begins = max(body.find(MESSAGES), 0)
    return crc32(body[begins : begins + PREFIX_BYTES]) | _NAMED


ARRAY = ord("[")
_NAMED = 1 << 32  # never 0, which means: no prefix


def _tokens_out_max(head: ChatHead) -> int | None:
    if memoryview(head.messages)[0] != ARRAY:
        raise InvalidRequest("Invalid value for 'messages': expected an array of messages.", param="messages")
    choices = head.n or 1
    if head.n is not None and not 1 <= head.n <= CHOICES_MAX:
        raise InvalidRequest(f"Invalid value for 'n': it must be 1 to {CHOICES_MAX}.", param="n")
    asked = head.max_completion_tokens if head.max_completion_tokens is not None else head.max_tokens
    if asked is None:
        return None
    if not 1 <= asked <= TOKENS_MAX:
        param = "max_tokens" if head.max_completion_tokens is None else "max_completion_tokens"
        raise InvalidRequest(f"Invalid value for '{param}': it must be 1 to {TOKENS_MAX}.", param=param)
    return asked * choices
