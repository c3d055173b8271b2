"""Entries that people make (credits, adjustments, payments, the rounding of invoices), and the invoices: appended, chained, never changed.

Unlike usage they can't be rebuilt from the usage log.
"""

import sqlite3
from typing import Final

import msgspec

from headrace.core.clock import Moment
from headrace.metering import Account, Invoice
from headrace.metering.chain import START, linked
from headrace.storage.database import transaction

_invoice: Final = msgspec.json.Decoder(Invoice).decode


class JournalEntry(msgspec.Struct, frozen=True, kw_only=True):
    """`name` names the entry for ever: made again, it changes nothing."""

    name: str
    moment: Moment
    kind: str
    debit: Account
    credit: Account
    amount_pico: int
    memo: str = ""

    @property
    def fields(self) -> tuple[object, ...]:
        return self.name, self.moment, self.kind, self.debit, self.credit, self.amount_pico, self.memo


def entries(database: sqlite3.Connection) -> list[JournalEntry]:
    """All of them, in their order."""
    rows = database.execute("SELECT name, moment, kind, debit, credit, amount_pico, memo FROM journal ORDER BY id")
    return [
        JournalEntry(name=name, moment=moment, kind=kind, debit=debit, credit=credit, amount_pico=int(pico), memo=memo)
        for name, moment, kind, debit, credit, pico, memo in rows
    ]


def enter(database: sqlite3.Connection, *asked: JournalEntry) -> int:
    """Make entries, all or none; return how many were new. Raises ValueError for a name that stands for another entry already."""
    with transaction(database):
        return sum(_enter(database, one) for one in asked)


def issue(database: sqlite3.Connection, asked: Invoice, *others: JournalEntry) -> None:
    """Keep an invoice as it is, with the entries that it makes. Raises ValueError where its number is taken."""
    with transaction(database):
        if database.execute("SELECT 1 FROM invoice WHERE number = ?", (asked.number,)).fetchone():
            raise ValueError(
                f"the invoice {asked.number} was issued already, and is never changed: what was learned since is in the next one"
            )
        for one in others:
            _enter(database, one)
        database.execute(
            "INSERT INTO invoice (number, organization, month, issued, content) VALUES (?, ?, ?, ?, ?)",
            (asked.number, asked.organization, asked.month, asked.issued, msgspec.json.encode(asked)),
        )


def invoices(database: sqlite3.Connection, organization: str | None = None) -> list[Invoice]:
    """What was issued, oldest first."""
    rows = database.execute("SELECT content FROM invoice WHERE ? IS NULL OR organization = ? ORDER BY issued, number", (organization,) * 2)
    return [_invoice(content) for (content,) in rows]


def _enter(database: sqlite3.Connection, one: JournalEntry) -> bool:
    if one.amount_pico <= 0:
        raise ValueError(f"{one.name}: an amount is above zero; its direction is debit and credit")
    earlier = database.execute("SELECT moment, kind, debit, credit, amount_pico, memo FROM journal WHERE name = ?", (one.name,)).fetchone()
    if earlier is not None:
        if (earlier[1:4], int(earlier[4])) != ((one.kind, one.debit, one.credit), one.amount_pico):
            raise ValueError(f"{one.name} stands for another entry already")
        return False
    last = database.execute("SELECT id, hash FROM journal ORDER BY id DESC LIMIT 1").fetchone() or (0, START)
    database.execute(
        "INSERT INTO journal (id, name, moment, kind, debit, credit, amount_pico, memo, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (last[0] + 1, *one.fields[:5], str(one.amount_pico), one.memo, linked(last[1], *one.fields)),
    )
    for account, sign in ((one.debit, 1), (one.credit, -1)):
        database.execute("INSERT OR IGNORE INTO account (name, balance) VALUES (?, '0')", (account,))
        (balance,) = database.execute("SELECT balance FROM account WHERE name = ?", (account,)).fetchone()
        database.execute("UPDATE account SET balance = ? WHERE name = ?", (str(int(balance) + sign * one.amount_pico), account))
    return True
