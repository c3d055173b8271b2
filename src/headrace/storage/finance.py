"""What finance reads: sums and attempts with their owners, what prices said, and who adds up to what."""

import sqlite3
from collections.abc import Iterator

import msgspec

from headrace.core.clock import Moment
from headrace.core.usage import SEGMENTS, Usage
from headrace.metering import Attempted, Bought, Card, Owner, Sum
from headrace.storage.books import STATES
from headrace.storage.database import snapshot
from headrace.storage.rollups import FOREVER, PART, sums
from headrace.storage.tallies import ALWAYS

_OWNER = "organization, project, key, class, operation, model, coalesce(tier, ''), coalesce(price, ''), pool"  # in the order of `Owner`
_weights = msgspec.msgpack.Decoder(tuple[int | None, ...]).decode
_fees = msgspec.msgpack.Decoder(dict[str, int]).decode


def cards(database: sqlite3.Connection) -> dict[str, Card]:
    """What each price said that was ever used, by its id."""
    rows = database.execute("SELECT id, moment, model, tier, weights, fees, source, listed FROM card")
    return {
        id: Card(id, moment, model, tier, _weights(weights), _fees(fees), source, listed)
        for id, moment, model, tier, weights, fees, source, listed in rows
    }


def owned(
    database: sqlite3.Connection, *, organization: str | None = None, since: Moment = 0, until: Moment = FOREVER, width: int = ALWAYS
) -> list[Sum]:
    """What customers pay for, by owner, state and bucket of time; attempts that we bear are none of theirs."""
    found: dict[tuple[int, Owner, int], list[int]] = {}
    with snapshot(database):
        sql = f"SELECT id, {_OWNER} FROM label WHERE NOT ours"  # noqa: S608 -- ours
        labels = {label: Owner(*names) for label, *names in database.execute(sql) if organization in (None, names[0])}
        for bucket, label, state, attempts, _, _, *counts in sums(database, since, until, width):
            owner = labels.get(label)
            if owner is None:
                continue
            row = found.setdefault((bucket, owner, state), [0] * (1 + len(counts)))
            row[0] += attempts
            for at, count in enumerate(counts, 1):
                row[at] += count
    return [
        Sum(bucket, owner, STATES[state], row[0], tuple(row[1 : 1 + len(SEGMENTS)]), row[-4] * PART + row[-3])
        for (bucket, owner, state), row in found.items()
    ]


def attempted(database: sqlite3.Connection, *, organization: str | None, since: Moment, until: Moment) -> Iterator[Attempted]:
    """Every attempt that is billed to an organisation (None: to any), in the order of its invoice's tree."""
    sql = f"""
        SELECT request, number, state, admitted, project, key, model, coalesce(tier, ''), coalesce(price, ''), coalesce(cost_pico, 0),
            {", ".join(SEGMENTS)}
        FROM attempt JOIN label ON label.id = attempt.label
        WHERE admitted >= ? AND admitted < ? AND NOT ours AND state NOT IN (0, 2) AND (? IS NULL OR organization = ?)
        ORDER BY request, number
    """  # noqa: S608 -- ours
    for request, number, state, admitted, project, key, model, tier, price, cost, *tokens in database.execute(
        sql, (since, until, organization, organization)
    ):
        yield Attempted(request, number, STATES[state], admitted, project, key, model, tier, price, tuple(tokens), cost)


def bought(database: sqlite3.Connection, vendor: str, since: Moment, until: Moment) -> Iterator[Bought]:
    """Every attempt that this vendor should bill by its tokens, or that failed there."""
    sql = f"""
        SELECT request, number, state, admitted, ended, substr(buy, length(:vendor) + 2), coalesce(tier, ''), coalesce(buy_pico, 0),
            {", ".join(SEGMENTS)}
        FROM attempt JOIN label ON label.id = attempt.label
        WHERE admitted >= :since AND admitted < :until AND substr(buy, 1, length(:vendor) + 1) = :vendor || '/'
        ORDER BY admitted
    """  # noqa: S608 -- ours
    asked = {"vendor": vendor, "since": since, "until": until}
    for request, number, state, admitted, ended, row, tier, pico, *tokens in database.execute(sql, asked):
        yield Bought(
            request=request,
            attempt=number,
            state=STATES[state],
            admitted=admitted,
            ended=ended,
            model=row.rpartition("@")[0],
            tier=tier,
            usage=Usage(*tokens),
            pico=pico,
        )


def organizations(database: sqlite3.Connection) -> list[str]:
    return [name for (name,) in database.execute("SELECT DISTINCT organization FROM label ORDER BY 1")]


class Rated(msgspec.Struct, frozen=True, kw_only=True):
    """What of an attempt is needed to rate it again."""

    organization: str
    project: str
    model: str
    traffic_class: str
    tier: str
    admitted: Moment
    usage: Usage
    cost_pico: int
    calls: tuple[tuple[str, int], ...]


def rated(database: sqlite3.Connection, since: Moment, until: Moment) -> Iterator[Rated]:
    """The attempts that customers pay for and whose usage is known, but for those that have no price."""
    sql = f"""
        SELECT organization, project, model, class, coalesce(tier, ''), admitted, cost_pico, calls, {", ".join(SEGMENTS)}
        FROM attempt JOIN label ON label.id = attempt.label
        WHERE admitted >= ? AND admitted < ? AND NOT ours AND state >= 3 AND cost_pico IS NOT NULL
    """  # noqa: S608 -- ours
    for organization, project, model, traffic_class, tier, admitted, cost, calls, *tokens in database.execute(sql, (since, until)):
        yield Rated(
            organization=organization,
            project=project,
            model=model,
            traffic_class=traffic_class,
            tier=tier,
            admitted=admitted,
            usage=Usage(*tokens),
            cost_pico=cost,
            calls=() if calls is None else _calls(calls),
        )


_calls = msgspec.msgpack.Decoder(tuple[tuple[str, int], ...]).decode
