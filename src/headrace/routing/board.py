"""What `decide` looks at: the pools of a snapshot with how they stand at this moment, and for whom each is a choice at all."""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, Final, Generic, TypeVar, cast
from zlib import crc32

import msgspec

from headrace.core.ask import Ask
from headrace.core.clock import Instant
from headrace.core.identity import TrafficClass
from headrace.core.rules import CAPABILITIES, DATA_CLASSES, NO_RULES, Capability, Rules
from headrace.portfolio import Pool, Snapshot, TokenCost
from headrace.routing.classes import CLASSES, ClassTerms

UNKNOWN_COST = TokenCost()


T = TypeVar("T")


class _Fact(Generic[T]):
    """A fact about a load: whoever changes it has what follows from it worked out again."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._field = f"_{name}"

    def __get__(self, load: "Load", owner: type) -> T:
        return cast(T, getattr(load, self._field))

    def __set__(self, load: "Load", value: T) -> None:
        setattr(load, self._field, value)
        load.look_again()


class Load:
    """How a pool stands: what it works on, what it may take, since when it is closed, and how fast it was lately.

    `limit` is how many requests it may work on at once now, at most its `concurrency_max` and less while it recovers. `closed_until` is
    when it may be asked again; `closed_for` says why it is closed. `waiting` stand in its line, the first of them of the priority
    `waiting_first`. `ttft_ms` and `tpot_ms` are what is expected of it, from what was seen.

    What follows from these is worked out when they change, which is two or three times a request, and not when they are looked at, which
    every decision does for every pool: `share` of its room in use, and `strain`, the same or more than any where it was closed, has a line,
    or its vendor is over its share; `first_ms` until the first token and `each_ms` for each, longer the fuller it is.
    """

    __slots__ = (
        "_closed_until",
        "_inflight",
        "_limit",
        "_over_share",
        "_tpot_ms",
        "_ttft_ms",
        "_waiting",
        "closed_for",
        "each_ms",
        "filled",
        "first_ms",
        "service_ms",
        "share",
        "strain",
        "waiting_first",
    )

    closed_until = _Fact[Instant]()
    inflight = _Fact[int]()
    limit = _Fact[int]()
    over_share = _Fact[bool]()
    tpot_ms = _Fact[float]()
    ttft_ms = _Fact[float]()
    waiting = _Fact[int]()

    def __init__(self, limit: int = 1_024, *, ttft_ms: float = 500.0, tpot_ms: float = 20.0, inflight: int = 0) -> None:
        self._inflight, self._waiting, self.waiting_first, self._limit = inflight, 0, 0, limit
        self._closed_until: Instant = 0
        self.closed_for = ""
        self._over_share = False
        self._ttft_ms, self._tpot_ms = ttft_ms, tpot_ms
        self.service_ms = ttft_ms + 200 * tpot_ms
        self.look_again()

    def look_again(self) -> None:
        """Work out what follows from the facts."""
        self.share = share = self._inflight / self._limit
        self.strain = HINDERED if self._closed_until or self._waiting or self._over_share else share
        self.filled = share * share
        crowd = 1.0 + share
        self.first_ms, self.each_ms = self._ttft_ms * crowd, self._tpot_ms * crowd

    @property
    def hindered(self) -> bool:
        """It is closed, has a line, or its vendor is over its share."""
        return self.strain == HINDERED

    def move(self, by: int) -> None:
        """So many requests more, or less, are there."""
        self._inflight += by
        self.look_again()

    def learn(self, ttft_ms: float, tpot_ms: float, service_ms: float) -> None:
        """What is expected of it from the next move on: who answered leaves, a moment later."""
        self._ttft_ms, self._tpot_ms, self.service_ms = ttft_ms, tpot_ms, service_ms


HINDERED: Final = 1e9
"""The strain of who needs a second look."""


class Choice:
    """A pool that may serve a model, with what placement needs of it close at hand."""

    __slots__ = (
        "cached_pico",
        "context_max",
        "input_pico",
        "load",
        "output_pico",
        "owned",
        "pool",
        "prefill_per_ms",
        "seed",
        "weight",
    )

    def __init__(self, pool: Pool, load: Load, cost: TokenCost, context_max: int) -> None:
        self.pool, self.load = pool, load
        self.input_pico, self.cached_pico, self.output_pico = cost.input_pico, cost.cached_input_pico, cost.output_pico
        self.owned, self.weight, self.context_max = pool.owned, pool.weight, context_max
        self.prefill_per_ms = pool.prefill_tokens_per_s / 1_000
        self.seed = crc32(pool.name.encode()) >> 2


UNBOUNDED = 1 << 62


class Shortlist(msgspec.Struct, frozen=True, gc=False):
    """Who may serve a kind of request: the choices, and who was left out by which rule. `evidence` names the record that says so."""

    choices: tuple[Choice, ...]
    context_min: int
    excluded: tuple[tuple[str, str], ...]
    evidence: str
    content: bytes


class Board:
    """One snapshot with the loads of its pools. `decide` reads it and changes nothing; the memo only saves doing the filters again."""

    def __init__(self, snapshot: Snapshot, loads: Mapping[str, Load], classes: Mapping[TrafficClass, ClassTerms] = CLASSES) -> None:
        self.snapshot, self.loads, self.classes = snapshot, loads, classes
        self._shortlists: dict[tuple[str, Rules, frozenset[str]], Shortlist] = {}
        self._partial: dict[str, frozenset[Capability]] = {}
        self._recent: dict[tuple[str, int, int], tuple[Rules, frozenset[str], Shortlist]] = {}

    def shortlist(self, ask: Ask) -> Shortlist:
        """Who may serve `ask`, whatever the moment: it depends on the model, the rules and the capabilities only."""
        rules, needs = ask.rules, ask.needs
        recent = self._recent.get((ask.model, id(rules), id(needs)))
        if recent is not None and recent[0] is rules and recent[1] is needs:  # hashing the rules costs more than all the rest
            return recent[2]
        held = self._shortlists.get((ask.model, rules, needs))
        if held is None:
            if len(self._shortlists) >= SHORTLISTS_MAX:
                self._shortlists.clear()
            held = self._shortlists[ask.model, rules, needs] = self._filtered(ask.model, rules, needs)
        if len(self._recent) >= SHORTLISTS_MAX:
            self._recent.clear()
        self._recent[ask.model, id(rules), id(needs)] = rules, needs, held
        return held

    def partial(self, model: str) -> frozenset[Capability]:
        """The capabilities that some pool of `model` lacks: only of these need anybody know whether a request needs them."""
        held = self._partial.get(model)
        if held is None:
            profile = self.snapshot.models.get(model)
            of_model = profile.capabilities if profile else None
            has = [pool.capabilities if pool.capabilities is not None else of_model for pool in self.snapshot.pools_of.get(model, ())]
            held = frozenset(one for one in CAPABILITIES if any(of is not None and one not in of for of in has))
            self._partial[model] = held
        return held

    def _filtered(self, model: str, rules: Rules, needs: frozenset[str]) -> Shortlist:
        choices: list[Choice] = []
        excluded: list[tuple[str, str]] = []
        profile = self.snapshot.models.get(model)
        for pool in self.snapshot.pools.values():
            if model not in pool.models:
                continue
            broken = broken_rule(pool, rules) or _incapable(pool, profile.capabilities if profile else None, needs)
            if broken:
                excluded.append((pool.name, broken))
                continue
            context_max = pool.tokens_context_max or (profile.tokens_context_max if profile else None) or UNBOUNDED
            choices.append(Choice(pool, self.loads[pool.name], pool.costs.get(model, UNKNOWN_COST), context_max))
        content = _evidence(self.snapshot.version, model, rules, needs, choices, excluded)
        context_min = min((choice.context_max for choice in choices), default=UNBOUNDED)
        return Shortlist(tuple(choices), context_min, tuple(excluded), blake2b(content, digest_size=12).hexdigest(), content)


SHORTLISTS_MAX = 4_096


def broken_rule(pool: Pool, rules: Rules) -> str | None:
    """The rule that keeps this data away from `pool`; None: it may go there. What a pool doesn't say counts against it."""
    if rules.jurisdictions is not None and not rules.jurisdictions & pool.jurisdictions:
        return "jurisdiction"
    if any(not each & pool.jurisdictions for each in rules.jurisdictions_too):
        return "jurisdiction"
    if rules.vendors is not None and pool.vendor not in rules.vendors:
        return "vendor"
    if pool.vendor in rules.vendors_denied:
        return "vendor"
    if rules.data_class is not None and DATA_CLASSES.index(pool.data_class) < DATA_CLASSES.index(rules.data_class):
        return "data_class"
    if rules.zero_retention and not pool.zero_retention:
        return "zero_retention"
    return None


def _incapable(pool: Pool, of_model: frozenset[Capability] | None, needs: frozenset[str]) -> str | None:
    has = pool.capabilities if pool.capabilities is not None else of_model
    lacking = sorted(need for need in needs if (need not in pool.paths if need.startswith("/") else has is not None and need not in has))
    return f"capability:{lacking[0]}" if lacking else None


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the filters did for one kind of request, kept for who must show that a rule held. `considered` gives the pools their index in
    an attempt's `placed`."""

    snapshot: int
    model: str
    rules: dict[str, Any]
    needs: tuple[str, ...]
    considered: tuple[str, ...]
    excluded: tuple[tuple[str, str], ...]


_encode = msgspec.msgpack.Encoder(order="sorted").encode
_evidences = msgspec.msgpack.Decoder(Evidence)


def _evidence(
    version: int, model: str, rules: Rules, needs: Iterable[str], choices: Iterable[Choice], excluded: Iterable[tuple[str, str]]
) -> bytes:
    return _encode(
        Evidence(
            snapshot=version,
            model=model,
            rules={name: _listed(value) for name, value in msgspec.structs.asdict(rules).items() if value != getattr(NO_RULES, name)},
            needs=tuple(sorted(needs)),
            considered=tuple(choice.pool.name for choice in choices),
            excluded=tuple(excluded),
        )
    )


def _listed(value: object) -> object:
    if not isinstance(value, frozenset):
        return value
    return sorted((_listed(one) for one in value), key=repr)


def read_evidence(content: bytes) -> Evidence:
    """What `Shortlist.content` says. Raises msgspec.DecodeError for anything else."""
    return _evidences.decode(content)
