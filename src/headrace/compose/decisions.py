"""Why a request went where it went: looked up in the books, with what the filters did and what each attempt came to."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from headrace.compose.clock import process_id, shown_moment
from headrace.core.money import usd
from headrace.routing import VERDICTS, Evidence, read_evidence
from headrace.storage import AttemptRow, Layout, connect, decision_of, key_names, load_once

NOBODY = Evidence(snapshot=0, model="", rules={}, needs=(), considered=(), excluded=())


class Decisions:
    """The decisions on record in one data folder."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def of(self, request: str) -> dict[str, Any] | None:
        """The decision of one request, as plain values; None: nothing is known of it. Raises NotReady while the books are far behind."""
        load_once(self._layout, process_id())
        with contextlib.closing(connect(self._layout.database)) as database:
            rows, names = decision_of(database, request), key_names(database)
        return _told(rows, names) if rows else None


def _told(rows: Sequence[AttemptRow], names: Mapping[str, str]) -> dict[str, Any]:
    first, evidences = rows[0], [_evidence(row) for row in rows]
    costs = [row.cost_pico for row in rows if row.state != "void"]
    return {
        "request": first.request,
        "organization": first.organization,
        "project": first.project,
        "key": names.get(first.key, first.key),
        "class": first.traffic_class,
        "model": first.model,
        "operation": first.operation,
        "streamed": first.streamed,
        "admitted": shown_moment(first.admitted),
        "snapshot": f"{evidences[0].snapshot:08x}",
        "rules": evidences[0].rules,
        "needs": list(evidences[0].needs),
        "excluded": [{"pool": pool, "rule": rule} for pool, rule in evidences[0].excluded],
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
        "placed": [
            {"pool": evidence.considered[index], "verdict": VERDICTS[code], "score": score}
            for index, code, score in row.placed
            if index < len(evidence.considered)
        ],
    }


def _segments(row: AttemptRow) -> dict[str, int]:
    return {name: getattr(row.usage, name) for name in row.usage.__struct_fields__}


def _evidence(row: AttemptRow) -> Evidence:
    return NOBODY if row.content is None else read_evidence(row.content)
