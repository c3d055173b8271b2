"""The balances by the usage log alone: what the books of SQLite are held against.

Nearly every attempt ends once, so its end is all that has to be added up. Which attempts are told of more than once is found by the hashes
of their names, eight bytes each; what the log says of those is read again and booked in full.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias, TypeVar

import msgspec

from headrace.core.clock import SECOND
from headrace.metering import Account, AttemptId, Certainty, Ledger, Lost, Settle, State, Void, standing
from headrace.metering.ledger import entries, vendor_of
from headrace.metering.records import Precedence
from headrace.storage.segment import Found, decoded, read_pieces, records_in

Parts: TypeAlias = Sequence[tuple[Path, int]]
Sums: TypeAlias = dict[tuple[State, str, str, str, str | None], int]
"""By state, organisation, project, model and None what is charged; by the vendor what it charges."""

DAY = 86_400 * SECOND
NO_RAW = msgspec.Raw(b"\xc0")


class _Admitted(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1):
    """Of an admission what the books need; what is not looked into stays encoded."""

    request: str
    attempt: int
    moment: int
    organization: str
    project: str
    key: msgspec.Raw
    traffic_class: msgspec.Raw
    operation: msgspec.Raw
    model: str
    pool: msgspec.Raw
    streamed: msgspec.Raw
    bound: msgspec.Raw
    bound_pico: int | None
    price: msgspec.Raw = NO_RAW
    evidence: msgspec.Raw = NO_RAW
    placed: msgspec.Raw = NO_RAW
    epoch: msgspec.Raw = NO_RAW
    accounts: tuple[int, ...] = ()
    tier: msgspec.Raw = NO_RAW
    user: msgspec.Raw = NO_RAW
    buy: str | None = None


class _Settled(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=2):
    admitted: _Admitted
    moment: msgspec.Raw
    usage: msgspec.Raw
    cost_pico: int | None
    state: Certainty
    outcome: msgspec.Raw = NO_RAW
    ttft_ms: msgspec.Raw = NO_RAW
    duration_ms: msgspec.Raw = NO_RAW
    model_served: msgspec.Raw = NO_RAW
    translation: msgspec.Raw = NO_RAW
    tier: msgspec.Raw = NO_RAW
    price: msgspec.Raw = NO_RAW
    buy: str | None = None
    buy_pico: int | None = None


class _Lost(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=3):
    admitted: _Admitted


class _Voided(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=4):
    admitted: _Admitted


class _Evidence(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=5):
    id: msgspec.Raw


class _Card(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=6):
    id: msgspec.Raw


class _Declined(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=7):
    request: msgspec.Raw


_End: TypeAlias = _Settled | _Lost | _Voided
_Name = TypeVar("_Name")
_NO_DEBT = (_Admitted, _Evidence, _Card, _Declined)
_decode = msgspec.msgpack.Decoder(_Admitted | _Settled | _Lost | _Voided | _Evidence | _Card | _Declined).decode


def balances_of(parts: Parts) -> dict[Account, int]:
    """Debits less credits of every account that is not even, by these segments, each up to an offset."""
    sums: Sums = {}
    names = array("q")
    for found in _pieces(parts):
        for end in decoded([*found.ends, *found.alone], _decode):
            if not isinstance(end, _NO_DEBT):
                names.append(hash((end.admitted.request, end.admitted.attempt)))
                _add(sums, end, 1)
    balances = _booked(parts, _repeated(names), sums)
    for (state, organization, project, model, buy), pico in sums.items():
        charged, charges = (pico, None) if buy is None else (None, pico)
        for posted in entries(state, organization, project, model, charged, buy, charges):
            balances[posted.debit] = balances.get(posted.debit, 0) + pico
            balances[posted.credit] = balances.get(posted.credit, 0) - pico
    return {account: pico for account, pico in balances.items() if pico}


def charged_of(parts: Parts) -> dict[int, int]:
    """What was charged to each account of the budgets, by its number: of every attempt what the best record says."""
    return _summed(parts, lambda end: ((account, _cost(end)) for account in end.admitted.accounts))


def days_of(parts: Parts) -> dict[int, tuple[int, int]]:
    """What customers and what vendors charge for the attempts that were admitted on each Unix day."""
    sums = _summed(parts, lambda end: (((end.admitted.moment // DAY, at), pico) for at, pico in enumerate((_cost(end), _bought(end)))))
    days = {day for day, _ in sums}
    return {day: (sums.get((day, 0), 0), sums.get((day, 1), 0)) for day in days}


def _summed(parts: Parts, rows_of: Callable[[_End], Iterable[tuple[_Name, int]]]) -> dict[_Name, int]:
    """Amounts by name, each attempt's once: those that are told of more than once are found by the hashes of their names."""
    sums: dict[_Name, int] = {}
    names = array("q")
    for found in _pieces(parts):
        for end in decoded([*found.ends, *found.alone], _decode):
            if not isinstance(end, _NO_DEBT):
                names.append(hash((end.admitted.request, end.admitted.attempt)))
                _enter(sums, rows_of(end), 1)
    repeated = _repeated(names)
    best: dict[AttemptId, tuple[Precedence, _End]] = {}
    for found in _pieces(parts) if repeated else ():
        for payload in (*found.ends, *found.alone):
            for record in records_in([payload]):
                if isinstance(record, (Settle, Lost, Void)) and hash(record.admitted.id) in repeated:
                    end = _decode(payload)
                    assert not isinstance(end, _NO_DEBT)
                    _enter(sums, rows_of(end), -1)
                    earlier, rank = best.get(record.admitted.id), standing(record).precedence
                    if earlier is None or rank > earlier[0]:
                        best[record.admitted.id] = rank, end
    for _, end in best.values():
        _enter(sums, rows_of(end), 1)
    return {name: pico for name, pico in sums.items() if pico}


def _enter(sums: dict[_Name, int], rows: Iterable[tuple[_Name, int]], sign: int) -> None:
    for name, pico in rows:
        sums[name] = sums.get(name, 0) + sign * pico


def _cost(end: _End) -> int:
    """What its accounts are charged: what is lost is held at its bound."""
    if isinstance(end, _Settled):
        return end.cost_pico or 0
    return end.admitted.bound_pico or 0 if isinstance(end, _Lost) else 0


def _bought(end: _End) -> int:
    return end.buy_pico or 0 if isinstance(end, _Settled) and (end.buy or end.admitted.buy) else 0


def _booked(parts: Parts, repeated: set[int], sums: Sums) -> dict[Account, int]:
    """What the ledger says of attempts with these hashes; what was summed up for them is taken out again."""
    ledger = Ledger()
    for found in _pieces(parts) if repeated else ():
        for payload in (*found.ends, *found.alone):
            for record in records_in([payload]):
                if isinstance(record, (Settle, Lost, Void)) and hash(record.admitted.id) in repeated:
                    ledger.book(record)
                    summed = _decode(payload)
                    assert not isinstance(summed, _NO_DEBT)
                    _add(sums, summed, -1)
    return dict(ledger.balances)


def _pieces(parts: Parts) -> Iterator[Found]:
    for path, stop in parts:
        for piece in read_pieces(path, stop=stop, quick=True):
            yield piece.found


def _add(sums: Sums, end: _Settled | _Lost | _Voided, sign: int) -> None:
    admit = end.admitted
    if isinstance(end, _Settled):
        key: tuple[State, str, str, str, str | None] = (end.state, admit.organization, admit.project, admit.model, None)
        sums[key] = sums.get(key, 0) + sign * (end.cost_pico or 0)
        if end.buy_pico and (buy := end.buy or admit.buy):
            key = (end.state, "", "", "", vendor_of(buy))
            sums[key] = sums.get(key, 0) + sign * end.buy_pico
    elif isinstance(end, _Lost):
        key = ("lost", admit.organization, admit.project, admit.model, None)
        sums[key] = sums.get(key, 0) + sign * (admit.bound_pico or 0)


def _repeated(names: "array[int]") -> set[int]:
    return {one for one, other in pairwise(sorted(names)) if one == other}
