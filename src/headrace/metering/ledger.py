"""The books: double entry, append-only, posted once.

A customer owes (debit) what a model earned (credit); what is held after a crash is owed to `suspense` until the truth is known. What an
attempt cost us is owed to its vendor, whether a customer pays for it or we bear it ourselves.
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
Kind: TypeAlias = Literal["charge", "hold", "cost", "reversal"]
Entries: TypeAlias = "tuple[Entry, ...]"
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
    kind: Kind
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


@lru_cache(maxsize=1_000)
def cost(vendor: str) -> Account:
    return f"cost:{vendor}"


@lru_cache(maxsize=1_000)
def payable(vendor: str) -> Account:
    return f"payable:{vendor}"


def vendor_of(buy: str) -> str:
    """Whose row of the buying book this is: its id begins with the vendor's name."""
    return buy.partition("/")[0]


def entries(
    state: State, organization: str, project: str, model: str, cost_pico: int | None, buy: str | None = None, buy_pico: int | None = None
) -> Entries:
    """What the books show for an attempt in this state: what the customer owes, and what we owe."""
    if state in ("held", "void"):
        return ()
    shown: Entries = ()
    if cost_pico:
        credit = UNKNOWN_HELD if state == "lost" else revenue(model)
        shown = (Entry(customer(organization, project), credit, cost_pico),)
    if buy_pico and buy is not None:
        shown = (*shown, Entry(cost(vendor_of(buy)), payable(vendor_of(buy)), buy_pico))
    return shown


def entries_of(stands: Standing) -> Entries:
    """What the books show for an attempt that stands so."""
    admit = stands.admitted
    return entries(stands.state, admit.organization, admit.project, admit.model, stands.cost_pico, stands.buy, stands.buy_pico)


def transfers(attempt: AttemptId, moment: Moment, posted: Entries, truth: Entries, posted_count: int) -> tuple[Transfer, ...]:
    """What to post so that the books, which show `posted` for this attempt, show `truth`."""
    name = f"{attempt[0]}.{attempt[1]}"
    rows: list[tuple[Kind, Entry]] = [("reversal", Entry(one.credit, one.debit, one.amount_pico)) for one in posted if one not in truth]
    rows += [(_kind(one), one) for one in truth if one not in posted]
    return tuple(
        Transfer(f"{name}.{posted_count + at}", moment, kind, one.debit, one.credit, one.amount_pico) for at, (kind, one) in enumerate(rows)
    )


def _kind(entry: Entry) -> Kind:
    if entry.credit == UNKNOWN_HELD:
        return "hold"
    return "cost" if entry.credit.startswith("payable:") else "charge"


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
        posted = () if earlier is None else entries_of(earlier)
        rows = transfers(attempt, stands.moment, posted, entries_of(stands), count)
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
