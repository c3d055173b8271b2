"""Months that are over: corrections on later invoices, entries that are made once, and a journal that has both."""

import sqlite3
from collections.abc import Iterable
from datetime import date

import msgspec
import pytest

from headrace.compose.finance import Finance, month_of
from headrace.core.usage import Usage
from headrace.metering import Admit, Lost, Record, Settle, UsdPerMtok, cards_of, moment_of, price_row, rate, rate_bound
from headrace.metering.invoices import PICO_PER_CENT
from headrace.storage import JournalEntry, Layout, make_folder
from headrace.storage.segment import framed, header

PRICE = price_row(model="m", usd_per_mtok=UsdPerMtok(input="1000", output="1000"), source="a test")
NOVEMBER, DECEMBER = moment_of(date(2026, 11, 30)), moment_of(date(2026, 12, 1))
BOUND, USED = Usage(100), Usage(7)


def admit(request: str, moment: int = NOVEMBER) -> Admit:
    bound = rate_bound(BOUND, PRICE)
    return Admit(request, 1, moment, "acme", "demo", "key_1", "realtime", "chat", "m", "a", False, BOUND, bound, PRICE.id)


def settle(admitted: Admit, usage: Usage = USED) -> Settle:
    return Settle(admitted, admitted.moment + 9, usage, rate(usage, PRICE), "confirmed", "completed", 1, 2)


class Folder:
    def __init__(self, layout: Layout) -> None:
        self.layout, self.finance, self._said = layout, Finance(layout), 0

    def say(self, records: Iterable[Record]) -> None:
        frames = [framed(msgspec.msgpack.encode(one)) for one in (*cards_of(PRICE, 1), *records)]
        (self.layout.usage / f"{self._said:013d}-1-000000.sealed").write_bytes(header(1, 1, "x") + b"".join(frames))
        self._said += 1


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(make_folder(tmp_path / "data"))


def test_what_is_learned_after_an_invoice_is_on_the_next_one_once(folder):
    folder.say([settle(admit("a")), Lost(admit("b"), NOVEMBER + 5)])
    issued = folder.finance.issue("acme", "2026-11", DECEMBER)
    assert [(line.segment, line.quantity, line.exact_pico) for line in issued.lines] == [
        ("uncached", 7, 7 * 10**9),
        ("held", 1, 100 * 10**9),
    ]
    folder.say([settle(admit("b"), Usage(30)), settle(admit("c", DECEMBER), Usage(1))])
    december = folder.finance.draft("acme", "2026-12", DECEMBER + 1)
    assert [(line.kind, line.month, line.segment, line.exact_pico) for line in december.lines] == [
        ("usage", "2026-12", "uncached", 10**9),
        ("correction", "2026-11", "uncached", 30 * 10**9),
        ("correction", "2026-11", "held", -100 * 10**9),
    ]
    folder.finance.issue("acme", "2026-12", DECEMBER + 2, early=True)
    assert folder.finance.draft("acme", "2027-01", DECEMBER + 3).lines == ()
    assert folder.finance.invoices("acme")[0] == issued, "what was issued is as it was"
    billed = sum(one.exact_pico for one in folder.finance.invoices("acme"))
    assert billed == sum(line.cost_pico for line in folder.finance.lines("acme", 0, 2**62))
    assert folder.finance.audit() == []


def test_a_month_that_has_not_begun_is_not_billed(folder):
    folder.say([settle(admit("a"))])
    with pytest.raises(ValueError, match="2026-12 has not begun"):
        folder.finance.issue("acme", "2026-12", DECEMBER - 1)
    assert folder.finance.invoices("acme") == []
    with pytest.raises(ValueError, match="2026-12 is not over"):
        folder.finance.issue("acme", "2026-12", DECEMBER)
    assert folder.finance.issue("acme", "2026-12", DECEMBER, early=True).month == "2026-12"


def test_rounding_is_posted_with_the_invoice(folder):
    folder.say([settle(admit("a"), Usage(14))])
    made = folder.finance.issue("acme", "2026-11", DECEMBER)
    assert (made.total_cents, made.residue_pico) == (1, 14 * 10**9 - PICO_PER_CENT)
    text = folder.finance.journal(*month_of("2026-11"))
    assert "2026-11-30 * rounding" in text
    assert "2026-11-30 * usage" in text
    with pytest.raises(ValueError, match="is never changed"):
        folder.finance.issue("acme", "2026-11", DECEMBER)


def test_nothing_used_is_an_invoice_of_nothing(folder):
    made = folder.finance.issue("acme", "2026-11", DECEMBER)
    assert (made.lines, made.total_cents, made.records) == ((), 0, 0)
    assert folder.finance.organizations() == []


ENTRY = JournalEntry(
    name="c1", moment=NOVEMBER, kind="credit", debit="credits:acme", credit="customer:acme/demo", amount_pico=5, memo="sorry"
)


def test_an_entry_is_made_once(folder):
    assert folder.finance.enter(ENTRY) == 1
    assert folder.finance.enter(msgspec.structs.replace(ENTRY, moment=NOVEMBER + 1)) == 0
    with pytest.raises(ValueError, match="stands for another entry"):
        folder.finance.enter(msgspec.structs.replace(ENTRY, name="c2"), msgspec.structs.replace(ENTRY, amount_pico=6))
    with pytest.raises(ValueError, match="an amount is above zero"):
        folder.finance.enter(msgspec.structs.replace(ENTRY, name="c3", amount_pico=0))
    (line,) = folder.finance.draft("acme", "2026-11", DECEMBER).lines
    assert (line.kind, line.project, line.exact_pico, line.memo) == ("credit", "demo", -5, "c1: sorry")
    assert folder.finance.audit() == []


def test_whoever_changes_an_entry_or_a_page_is_found(folder):
    folder.say([settle(admit("a")), settle(admit("b"))])
    folder.finance.enter(ENTRY)
    folder.finance.enter(msgspec.structs.replace(ENTRY, name="c2"))
    assert folder.finance.audit() == []
    for change, says in (
        ("UPDATE journal SET memo = 'x' WHERE id = 1", "the chain over the journal is broken: row 1 is not what it was"),
        ("DELETE FROM journal WHERE id = 1", "row 1 is missing"),
        ("UPDATE page SET stop = stop - 1", "the chain over the usage log is broken"),
        ("UPDATE attempt SET cost_pico = cost_pico + 1 WHERE request = 'a'", "a.1: its cost is not its tokens at"),
        ("UPDATE account SET balance = '1' WHERE name = 'revenue:m'", "revenue:m: the balance is 1"),
    ):
        database = sqlite3.connect(folder.layout.database, isolation_level=None)
        database.execute("BEGIN")
        database.execute(change)
        database.execute("COMMIT")
        database.close()
        assert any(says in fault for fault in folder.finance.audit()), says
