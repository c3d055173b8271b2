"""What the console shows: read from the books, the budgets, the keys and the price book of one data folder, as of now."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, get_args

from headrace.compose.banking import budgets_at
from headrace.compose.clock import MachineClock, process_id
from headrace.compose.finance import places_of
from headrace.compose.minting import mint_key, minting
from headrace.compose.settings import Settings
from headrace.core.clock import SECOND, Moment
from headrace.core.errors import InvalidRequest
from headrace.core.identity import Principal, TrafficClass
from headrace.core.money import usd, usd_per_mtok
from headrace.gateway import Gateway
from headrace.metering import Price
from headrace.metering.pricebook import Sale
from headrace.routing import CLASSES
from headrace.storage import (
    DIMENSIONS,
    Dimension,
    KeyStore,
    SharedState,
    Tally,
    audit,
    connect,
    head,
    key_names,
    latest_requests,
    load_once,
    minutes_of,
    tallies,
    waits_by_class,
)
from headrace.workspace.console import NewKey

MINUTE, DAY = 60 * SECOND, 86_400 * SECOND
MINUTES = 60


class StoredFacts:
    """Implements `workspace.Facts`."""

    def __init__(self, state: SharedState, clock: MachineClock, settings: Callable[[], Settings], gateway: Gateway) -> None:
        self._state, self._layout, self._clock, self._settings, self._gateway = state, state.layout, clock, settings, gateway

    def now(self, now: Moment) -> dict[str, Any]:
        since = (now // MINUTE - MINUTES + 1) * MINUTE
        today = now // DAY * DAY
        with self._open() as database:
            minutes = minutes_of(database, since)
            classes = waits_by_class(database, since)
            spent = tallies(database, (), since=today, until=None)
            yesterday = tallies(database, (), since=today - DAY, until=now - DAY)
        empty = Tally()
        return {
            "now": now,
            "minutes": [{"at": since + at * MINUTE, **minutes.get(since // MINUTE + at, NOTHING)} for at in range(MINUTES)],
            "classes": [{**one, "ttft_goal_ms": CLASSES[one["class"]].ttft_ms if one["class"] in CLASSES else None} for one in classes],
            "today_usd": usd(next(iter(spent.values()), empty).cost_pico),
            "yesterday_by_now_usd": usd(next(iter(yesterday.values()), empty).cost_pico),
            "unhealthy": self._unhealthy(),
            "pools": len(self._gateway.world.rooms),
            "models": [{"name": name, "operations": sorted(one.operations)} for name, one in self._gateway.world.snapshot.models.items()],
        }

    def _unhealthy(self) -> list[dict[str, Any]]:
        rooms = self._gateway.world.rooms.values()
        now = self._clock.instant()
        return [
            {"pool": room.pool.name, "state": room.health.state, "why": room.health.last_failure or room.load.closed_for}
            for room in rooms
            if room.health.state != "open" or room.load.closed_until > now
        ]

    def requests(self, owner: tuple[str, str] | None, limit: int, before: Moment, only: Mapping[str, str]) -> list[dict[str, Any]]:
        names = self._names()
        with self._open() as database:
            rows = latest_requests(database, owner, limit, before, only)
        for row in rows:
            row["key"] = names.get(row["key"], row["key"].removeprefix("settings:"))
            row["cost_usd"] = None if row["cost_pico"] is None else usd(row["cost_pico"])
            del row["cost_pico"]
        return rows

    def usage(self, group: str, since: Moment, until: Moment, width: int) -> list[dict[str, Any]]:
        dimension = next((one for one in DIMENSIONS if one == group), None)
        if dimension is None:
            raise ValueError(f"usage can't be grouped by {group!r}: choose from {', '.join(DIMENSIONS)}")
        asked: tuple[Dimension, ...] = (dimension,)
        names = self._names() if group == "key" else {}
        with self._open() as database:
            found = tallies(database, asked, since=since, until=until, width=width, places=places_of(self._settings()))
        return [
            {
                "at": bucket * width,
                "group": names.get(name, name.removeprefix("settings:") if group == "key" else name),
                "requests": tally.requests,
                "tokens_in": tally.usage.tokens_in,
                "tokens_cached": tally.usage.cached,
                "tokens_out": tally.usage.tokens_out,
                "cost_usd": usd(tally.cost_pico),
                "vendors_usd": usd(tally.buy_pico),
            }
            for (bucket, (name,)), tally in sorted(found.items())
        ]

    def budgets(self, now: Moment) -> list[dict[str, Any]]:
        url = self._settings().storage.url
        if url is None and not self._layout.budgets.exists():
            return []
        with budgets_at(self._layout, url) as treasury:
            rows = treasury.accounts()
        return [
            {
                "budget": row.budget,
                "instance": row.instance,
                "period": row.period,
                "mode": row.mode,
                "limit_usd": usd(row.limit_pico),
                "spent_usd": usd(row.spent_pico),
                "held_usd": usd(row.held_pico),
                "free_usd": usd(row.available_pico + row.leased_free_pico),
                "spent_share": row.spent_pico / row.limit_pico if row.limit_pico else None,
                "ends": row.ends,
            }
            for row in rows
            if row.ends > now or row.holders
        ]

    def keys(self) -> list[dict[str, Any]]:
        with self._state.opened() as database:
            rows = KeyStore(database, self._layout).rows()
        return [
            {
                "id": row.id,
                "name": row.name,
                "organization": row.organization,
                "project": row.project,
                "class": row.traffic_class,
                "shown": row.shown,
                "created": row.created,
                "revoked": row.revoked,
                "expires": row.expires,
                "parent": row.parent,
                "requests_per_minute": row.requests_per_minute,
                "tokens_per_minute": row.tokens_per_minute,
                "budget_usd": None if row.budget_pico is None else usd(row.budget_pico),
            }
            for row in rows
        ]

    def create_key(self, asked: NewKey) -> dict[str, Any]:
        known = next((one for one in get_args(TrafficClass) if one == asked.traffic_class), None)
        if known is None:
            raise InvalidRequest(f"Invalid value for 'traffic_class': it is {', '.join(get_args(TrafficClass))}.", param="traffic_class")
        if not asked.name.strip() or not asked.organization.strip() or not asked.project.strip():
            raise InvalidRequest("A key has a name, an organisation and a project.")
        owner = Principal(organization=asked.organization.strip(), project=asked.project.strip(), key="", traffic_class=known)
        wish = minting(
            asked.name.strip(),
            budget_usd=None,
            models=None,
            classes=None,
            expires=None,
            requests_per_minute=asked.requests_per_minute,
            tokens_per_minute=asked.tokens_per_minute,
        )
        row, secret = mint_key(self._state, self._clock, owner, wish)
        return {"id": row.id, "name": row.name, "secret": secret}

    def revoke_key(self, key: str) -> None:
        with self._state.opened() as database:
            KeyStore(database, self._layout).revoke(key, self._clock.moment())

    def prices(self, now: Moment) -> list[dict[str, Any]]:
        world = self._gateway.world
        told = []
        for model in sorted(world.snapshot.models):
            price = world.book.sale(Sale(model), now)
            told.append({"model": model, "price": None if price is None else price.id, **_price(price)})
        return told

    def audit(self) -> dict[str, Any]:
        with self._open() as database:
            faults: Sequence[str] = audit(database, self._layout.usage)
            return {"faults": list(faults), "head": head(database)}

    def _names(self) -> dict[str, str]:
        with self._state.opened() as database:
            return key_names(database)

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        load_once(self._layout, process_id())
        with contextlib.closing(connect(self._layout.database)) as database:
            yield database


NOTHING = {"requests": 0, "tokens_in": 0, "tokens_out": 0, "failed": 0}


def _price(price: Price | None) -> dict[str, Any]:
    """In US dollars a million tokens, as text."""
    if price is None:
        return {"input": None, "cached_input": None, "output": None, "source": None, "valid_from": None}
    return {
        "input": usd_per_mtok(price.input_pico),
        "cached_input": usd_per_mtok(price.cached_input_pico),
        "output": None if price.output_pico is None else usd_per_mtok(price.output_pico),
        "source": price.source,
        "valid_from": price.valid_from,
    }
