"""Values with everything filled in that a test does not speak of."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from headrace.core.ask import Ask, Operation
from headrace.core.clock import Instant
from headrace.core.identity import Principal, TrafficClass
from headrace.core.rules import NO_RULES, Rules
from headrace.gateway import RuleFor, Terms, World, rooms_for
from headrace.metering import Price, PriceBook, Purchases, UsdPerMtok, price_row
from headrace.portfolio import ModelProfile, Pool, Snapshot, snapshot
from headrace.providers import Provider
from headrace.routing import CLASSES, POLICIES, Board, ClassTerms, HealthSettings, Policy

MODEL = "gpt-5.4-nano"


def a_principal(
    *,
    organization: str = "acme",
    project: str = "demo",
    key: str = "key_1",
    key_name: str = "",
    traffic_class: TrafficClass = "realtime",
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
) -> Principal:
    """The holder of a key, without limits."""
    return Principal(
        organization=organization,
        project=project,
        key=key,
        key_name=key_name,
        traffic_class=traffic_class,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
    )


def an_ask(
    *,
    request: str = "req_1",
    operation: Operation = "chat",
    principal: Principal | None = None,
    model: str = MODEL,
    stream: bool = True,
    include_usage: bool = False,
    tokens_in_max: int = 1_000,
    tokens_out_max: int | None = 500,
    body: bytes | None = None,
    traffic_class: TrafficClass | None = None,
    rules: Rules = NO_RULES,
    needs: Iterable[str] = (),
    affinity: int = 0,
    deadline: Instant | None = None,
    strict: bool = False,
    tier: str | None = None,
    user: str = "",
) -> Ask:
    """A request, with the body that such a client would send."""
    who = principal if principal is not None else a_principal()
    return Ask(
        request=request,
        operation=operation,
        principal=who,
        traffic_class=traffic_class if traffic_class is not None else who.traffic_class,
        rules=rules,
        needs=frozenset(needs),
        affinity=affinity,
        deadline=deadline,
        strict=strict,
        tier=tier,
        user=user,
        model=model,
        stream=stream,
        include_usage=include_usage,
        tokens_in_max=tokens_in_max,
        tokens_out_max=tokens_out_max,
        body=body if body is not None else _body(operation, model, stream, include_usage),
    )


def a_pool(name: str = "a", *, models: Iterable[str] = (MODEL,), **more: Any) -> Pool:
    """A pool that calls each model as we do; `more` are fields of Pool."""
    return Pool(**{"name": name, "dialect": "openai", "models": {model: model for model in models}, **more})


def a_model(
    name: str = MODEL, *, operations: Iterable[str] = ("chat",), tokens_out_max: int = 16_384, tokens_context_max: int | None = None
) -> ModelProfile:
    return ModelProfile(
        name=name,
        created=0,
        owned_by="acme",
        operations=frozenset(operations),
        tokens_out_max=tokens_out_max,
        tokens_context_max=tokens_context_max,
    )


def a_snapshot(*pools: Pool, models: Iterable[ModelProfile] | None = None, version: int = 1) -> Snapshot:
    """`pools`, else one pool `a`; a profile for each model they serve, unless given."""
    held = pools or (a_pool(),)
    named = dict.fromkeys(model for pool in held for model in pool.models)
    return snapshot(version, held, models if models is not None else [a_model(name) for name in named])


def a_world(
    *pools: Pool,
    providers: Mapping[str, Provider] | None = None,
    book: PriceBook | None = None,
    policy: Policy = POLICIES["least_loaded"],
    rules: Iterable[RuleFor] = (),
    terms: Terms | None = None,
    health: HealthSettings | None = None,
    snapshot: Snapshot | None = None,
    classes: Mapping[TrafficClass, ClassTerms] = CLASSES,
    buys: Purchases | None = None,
) -> World:
    """Everything that a gateway serves by, over `pools`."""
    seen = snapshot if snapshot is not None else a_snapshot(*pools)
    feels = health if health is not None else HealthSettings()
    rooms = rooms_for(seen, {}, feels)
    return World(
        snapshot=seen,
        board=Board(seen, {name: room.load for name, room in rooms.items()}, classes),
        rooms=rooms,
        providers=providers if providers is not None else {},
        book=book if book is not None else a_book(),
        rules=tuple(rules),
        policy=policy,
        terms=terms if terms is not None else Terms(),
        health=feels,
        buys=buys if buys is not None else Purchases(),
    )


def a_price(model: str = MODEL, *, input: str = "0.20", cached_input: str | None = "0.02", output: str | None = "1.25") -> Price:
    """A row that holds always."""
    return price_row(model=model, usd_per_mtok=UsdPerMtok(input=input, cached_input=cached_input, output=output), source="a test")


def a_book(*rows: Price) -> PriceBook:
    """A book of `rows`, else of one row for `MODEL`."""
    return PriceBook(rows or (a_price(),))


def _body(operation: Operation, model: str, stream: bool, include_usage: bool) -> bytes:
    if operation == "embeddings":
        return msgspec.json.encode({"model": model, "input": "hello"})
    body: dict[str, object] = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    if stream:
        body["stream"] = True
    if include_usage:
        body["stream_options"] = {"include_usage": True}
    return msgspec.json.encode(body)
