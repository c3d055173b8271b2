"""The books: double entry, append-only, posted once.

A customer owes (debit) what a model earned (credit); what is held after a crash is owed to `suspense` until the truth is known.
When a better record of an attempt arrives, what was posted for the worse is reversed by a new row, never edited. Balances are a
function of the set of records alone, whatever order they come in and however often; their sum is always zero.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Literal, TypeAlias

import msgspec

from headrace.core.clock import Moment
from headrace.metering.records import AttemptId, Record, Standing, State, admitted, standing

Account: TypeAlias = str
UNKNOWN_HELD: Account = "suspense:unknown_held"


class Entry(msgspec.Struct, frozen=True, gc=False):
    """An amount that the account `debit` owes to the account `credit`."""

    debit: Account
    credit: Account
    amount_pico: int


class Transfer(msgspec.Struct, frozen=True, gc=False):
    """A posted entry. `id` names it for ever: the attempt, and the count of what was posted for it before."""

    id: str
    moment: Moment
    kind: Literal["charge", "hold", "reversal"]
    debit: Account
    credit: Account
    amount_pico: int


@lru_cache(maxsize=10_000)
def customer(organization: str, project: str) -> Account:
    """A project's account. A slash in a name is escaped: two projects never share an account."""
    return f"customer:{_escaped(organization)}/{_escaped(project)}"


@lru_cache(maxsize=10_000)
def revenue(model: str) -> Account:
    return f"revenue:{model}"


def entry(state: State, organization: str, project: str, model: str, cost_pico: int | None) -> Entry | None:
    """What the books show for an attempt in this state; None: nothing."""
    if not cost_pico or state in ("held", "void"):
        return None
    credit = UNKNOWN_HELD if state == "lost" else revenue(model)
    return Entry(customer(organization, project), credit, cost_pico)


def entry_of(stands: Standing) -> Entry | None:
    """What the books show for an attempt that stands so."""
    admit = stands.admitted
    return entry(stands.state, admit.organization, admit.project, admit.model, stands.cost_pico)


def transfers(attempt: AttemptId, moment: Moment, posted: Entry | None, truth: Entry | None, posted_count: int) -> tuple[Transfer, ...]:
    """What to post so that the books, which show `posted` for this attempt, show `truth`."""
    rows: list[Transfer] = []
    if posted == truth:
        return ()
    name = f"{attempt[0]}.{attempt[1]}"
    if posted is not None:
        rows.append(Transfer(f"{name}.{posted_count}", moment, "reversal", posted.credit, posted.debit, posted.amount_pico))
    if truth is not None:
        kind: Literal["charge", "hold"] = "hold" if truth.credit == UNKNOWN_HELD else "charge"
        rows.append(Transfer(f"{name}.{posted_count + len(rows)}", moment, kind, truth.debit, truth.credit, truth.amount_pico))
    return tuple(rows)


class Ledger:
    """Books in memory: what tests, the simulator and `usage verify` hold the stored books against."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._stands: dict[AttemptId, Standing] = {}
        self._posted: dict[str, Transfer] = {}
        self._posted_count: dict[AttemptId, int] = {}
        self._balances: dict[Account, int] = {}
        for record in records:
            self.book(record)

    @property
    def balances(self) -> Mapping[Account, int]:
        """Debits less credits of every account that is not even, in pico-USD."""
        return MappingProxyType({account: pico for account, pico in self._balances.items() if pico})

    @property
    def transfers(self) -> tuple[Transfer, ...]:
        return tuple(self._posted.values())

    @property
    def standings(self) -> Mapping[AttemptId, Standing]:
        return MappingProxyType(self._stands)

    def book(self, record: Record) -> tuple[Transfer, ...]:
        """Take a record in, and return what was posted for it: nothing when it was known, or worse than what is known."""
        attempt, stands = admitted(record).id, standing(record)
        earlier = self._stands.get(attempt)
        if earlier is not None and earlier.precedence >= stands.precedence:
            return ()
        self._stands[attempt] = stands
        count = self._posted_count.get(attempt, 0)
        posted = None if earlier is None else entry_of(earlier)
        rows = transfers(attempt, stands.moment, posted, entry_of(stands), count)
        self._posted_count[attempt] = count + len(rows)
        for row in rows:
            self.post(row)
        return rows

    def post(self, transfer: Transfer) -> bool:
        """Apply a transfer once; False when it was already applied."""
        earlier = self._posted.get(transfer.id)
        if earlier is not None:
            assert earlier == transfer, "an id names one transfer for ever"
            return False
        assert transfer.amount_pico > 0, "an amount is positive; its direction is debit and credit"
        self._posted[transfer.id] = transfer
        self._balances[transfer.debit] = self._balances.get(transfer.debit, 0) + transfer.amount_pico
        self._balances[transfer.credit] = self._balances.get(transfer.credit, 0) - transfer.amount_pico
        return True


def _escaped(name: str) -> str:
    return name.replace("%", "%25").replace("/", "%2F")
