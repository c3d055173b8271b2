"""Every attempt of one request, with all that is on record of it: where it might have gone, why it went there, and what became of it."""

import sqlite3
from typing import Final

import msgspec

from headrace.core.clock import Moment
from headrace.core.translation import Change
from headrace.core.usage import SEGMENTS, Usage
from headrace.metering import State

_USAGE: Final = ", ".join(SEGMENTS)
_REST: Final = (
    "request, attempt, state, admitted, ended, organization, project, key, class, operation, model, pool, streamed, bound_pico, price, "
    "cost_pico, outcome, ttft_ms, duration_ms, model_served, tier, buy, buy_pico, ours, usage.evidence, content, placed, translation"
)
_placed = msgspec.msgpack.Decoder(tuple[tuple[int, int, float], ...]).decode
_changes = msgspec.msgpack.Decoder(tuple[Change, ...]).decode


class AttemptRow(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt as the database has it.

    `usage` is its bound while it is held or lost. `outcome` is the code of the error for one that is void, and None for one that is held.
    `buy_pico` is what the vendor charges, and `ours` says that no customer pays. `content` is what its evidence says, in msgpack; None
    where it names none, or one that is not there.
    """

    request: str
    attempt: int
    state: State
    admitted: Moment
    ended: Moment | None
    organization: str
    project: str
    key: str
    traffic_class: str
    operation: str
    model: str
    pool: str
    streamed: bool
    bound_pico: int | None
    price: str | None
    usage: Usage
    cost_pico: int | None
    outcome: str | None
    ttft_ms: int | None
    duration_ms: int | None
    model_served: str | None
    tier: str | None
    buy: str | None
    buy_pico: int | None
    ours: bool
    evidence: str | None
    content: bytes | None
    placed: tuple[tuple[int, int, float], ...]
    translation: tuple[Change, ...]


def decision_of(database: sqlite3.Connection, request: str) -> list[AttemptRow]:
    """The attempts of a request, first to last; none where nothing is known of it."""
    rows = database.execute(
        f"SELECT {_USAGE}, {_REST} FROM usage LEFT JOIN evidence ON evidence.id = usage.evidence WHERE request = ? ORDER BY attempt",  # noqa: S608 -- our own column names
        (request,),
    )
    return [_attempt(Usage(*row[: len(SEGMENTS)]), row[len(SEGMENTS) :]) for row in rows]


def _attempt(usage: Usage, rest: tuple[object, ...]) -> AttemptRow:
    names = (name for name in AttemptRow.__struct_fields__ if name != "usage")
    *plain, placed, translation = rest
    fields = dict(zip(names, plain, strict=False))
    assert isinstance(placed, bytes | None)
    assert isinstance(translation, bytes | None)
    return msgspec.convert(
        fields
        | {
            "streamed": bool(fields["streamed"]),
            "ours": bool(fields["ours"]),
            "usage": usage,
            "placed": _placed(placed) if placed else (),
            "translation": _changes(translation) if translation else (),
        },
        AttemptRow,
        builtin_types=(bytes,),
    )
