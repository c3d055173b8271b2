"""Why a request went where it went: looked up in the books, with what the filters did and what each attempt came to."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from headrace.compose.clock import process_id, shown_moment
from headrace.core.money import usd
from headrace.routing import VERDICTS, Evidence, read_evidence
from headrace.storage import AttemptRow, DeclinedRow, SharedState, connect, decision_of, declined_of, key_names, load_once

NOBODY = Evidence(snapshot=0, model="", rules={}, needs=(), considered=(), excluded=())


class Decisions:
    """The decisions on record on one host."""

    def __init__(self, state: SharedState) -> None:
        self._state, self._layout = state, state.layout

    def of(self, request: str) -> dict[str, Any] | None:
        """The decision of one request, as plain values; None: nothing is known of it. Raises NotReady while the books are far behind."""
        load_once(self._layout, process_id())
        with contextlib.closing(connect(self._layout.database)) as database:
            rows = decision_of(database, request)
            declined = None if rows else declined_of(database, request)
        if not rows and declined is None:
            return None
        with self._state.opened() as database:
            names = key_names(database)
        if declined is not None:
            return _declined(declined, names)
        return _told(rows, names)


def _declined(row: DeclinedRow, names: Mapping[str, str]) -> dict[str, Any]:
    evidence = _evidence(row)
    return _about(row, evidence, names) | {
        "admitted": shown_moment(row.declined),
        "declined": row.code,
        "considered": _placed(row, evidence),
        "attempts": [],
        "cost_usd": usd(0),
    }


def _about(row: AttemptRow | DeclinedRow, evidence: Evidence, names: Mapping[str, str]) -> dict[str, Any]:
    """Whose request it is, and what the filters did."""
    return {
        "request": row.request,
        "organization": row.organization,
        "project": row.project,
        "key": names.get(row.key, row.key),
        "class": row.traffic_class,
        "model": row.model,
        "operation": row.operation,
        "streamed": row.streamed,
        "snapshot": f"{evidence.snapshot:08x}",
        "rules": evidence.rules,
        "needs": list(evidence.needs),
        "excluded": [{"pool": pool, "rule": rule} for pool, rule in evidence.excluded],
    }


def _told(rows: Sequence[AttemptRow], names: Mapping[str, str]) -> dict[str, Any]:
    first, evidences = rows[0], [_evidence(row) for row in rows]
    costs = [row.cost_pico for row in rows if row.state != "void"]
    return _about(first, evidences[0], names) | {
        "admitted": shown_moment(first.admitted),
        "attempts": [_attempt(row, evidence) for row, evidence in zip(rows, evidences, strict=True)],
        "cost_usd": None if any(cost is None for cost in costs) else usd(sum(cost or 0 for cost in costs)),
    }


def _attempt(row: AttemptRow, evidence: Evidence) -> dict[str, Any]:
    return {
        "attempt": row.attempt,
        "pool": row.pool,
        "state": row.state,
        "outcome": row.outcome,
        "admitted": shown_moment(row.admitted),
        "ttft_ms": row.ttft_ms,
        "duration_ms": row.duration_ms,
        "usage": {segment: count for segment, count in _segments(row).items() if count},
        "cost_usd": None if row.cost_pico is None else usd(row.cost_pico),
        "price": row.price,
        "tier": row.tier,
        "buy_usd": None if row.buy_pico is None else usd(row.buy_pico),
        "buy": row.buy,
        "ours": row.ours,
        "model_served": row.model_served,
        "translation": [{"what": change.what, "param": change.param, "why": change.why} for change in row.translation],
        "placed": _placed(row, evidence),
    }


def _placed(row: AttemptRow | DeclinedRow, evidence: Evidence) -> list[dict[str, Any]]:
    return [
        {"pool": evidence.considered[index], "verdict": VERDICTS[code], "score": score}
        for index, code, score in row.placed
        if index < len(evidence.considered)
    ]


def _segments(row: AttemptRow) -> dict[str, int]:
    return {name: getattr(row.usage, name) for name in row.usage.__struct_fields__}


def _evidence(row: AttemptRow | DeclinedRow) -> Evidence:
    return NOBODY if row.content is None else read_evidence(row.content)
