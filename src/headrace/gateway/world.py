"""One version of everything that a request is served by: swapped whole, and kept by whoever began with it."""

from collections.abc import Mapping

import msgspec

from headrace.core.identity import Principal
from headrace.core.rules import NO_RULES, Rules
from headrace.gateway.guarding import Guards
from headrace.gateway.room import Room
from headrace.metering import Limit, PriceBook, Purchases
from headrace.portfolio import Snapshot
from headrace.providers import Provider
from headrace.routing import Board, HealthSettings, Policy, Shares


class Terms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a request is tried.

    At most `attempts_max` pools are asked one after another, and in all no more retries than `retry_share` of the requests. With
    `hedge_share_max` above 0 a second pool is asked when the first has said nothing for longer than 95 of 100 of its answers take, for at
    most that share of the requests; the first to speak is heard. `vendor_share_max` caps a vendor's part of all tokens in `share_window_s`.
    """

    attempts_max: int = 3
    retry_share: float = 0.2
    hedge_share_max: float = 0.0
    vendor_share_max: dict[str, float] = {}
    share_window_s: int = 3_600
    strict: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.attempts_max <= 8:
            raise ValueError("routing.attempts_max must be 1 to 8")
        if not 0 <= self.retry_share <= 1 or not 0 <= self.hedge_share_max <= 0.5:
            raise ValueError("routing.retry_share is 0 to 1, and routing.hedge_share_max 0 to 0.5")
        if self.share_window_s < 1:
            raise ValueError("routing.share_window_s is at least 1")
        Shares(self.vendor_share_max, window_s=self.share_window_s)


class RuleFor(msgspec.Struct, frozen=True, kw_only=True):
    """A rule of the settings and whom it holds for: every field that is given must match."""

    rules: Rules
    organization: str | None = None
    project: str | None = None
    key: str | None = None
    model: str | None = None
    traffic_class: str | None = None


class World(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot with who answers for it, its prices, its rules and its policy."""

    snapshot: Snapshot
    board: Board
    rooms: Mapping[str, Room]
    providers: Mapping[str, Provider]
    book: PriceBook
    rules: tuple[RuleFor, ...]
    policy: Policy
    terms: Terms
    health: HealthSettings
    buys: Purchases = Purchases()
    limits: tuple[Limit, ...] = ()
    guards: Guards | None = None

    def rules_for(self, principal: Principal, model: str, traffic_class: str) -> Rules:
        """All the settings' rules that hold for such a request, together. A key may be named by its id or its name."""
        found = NO_RULES
        for rule in self.rules:
            asked = (
                (rule.organization, (principal.organization,)),
                (rule.project, (principal.project,)),
                (rule.key, (principal.key, principal.key_name)),
                (rule.model, (model,)),
                (rule.traffic_class, (traffic_class, principal.traffic_class)),  # asking in another class leads past no rule
            )
            if all(named is None or named in values for named, values in asked):
                found = found.and_(rule.rules)
        return found


def rooms_for(snapshot: Snapshot, earlier: Mapping[str, Room], settings: HealthSettings) -> dict[str, Room]:
    """A room a pool: those that are there already go on with who is in them."""
    rooms: dict[str, Room] = {}
    for pool in snapshot.pools.values():
        room = earlier.get(pool.name)
        if room is None:
            room = Room(pool, settings)
        else:
            room.change(pool, settings)
        rooms[pool.name] = room
    return rooms
