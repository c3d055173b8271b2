"""The ledger's entries, told as the story of one attempt."""

import pytest

from headrace.metering import Entry, Ledger, Transfer
from headrace.metering.ledger import UNKNOWN_HELD, cost, customer, entries, payable, revenue, transfers
from tests.unit.metering.builders import MODEL, admit, lost, settle, void

CUSTOMER, REVENUE = "customer:acme/demo", f"revenue:{MODEL}"

STORIES = [
    # what was said                                             the balances
    ([admit()],                                                 {}),
    ([admit(), settle(admit())],                                {CUSTOMER: 12_345, REVENUE: -12_345}),
    ([admit(), settle(admit(), cost_pico=0)],                   {}),
    ([admit(), settle(admit(), cost_pico=None)],                {}),
    ([admit(), void(admit())],                                  {}),
    ([admit(), lost(admit())],                                  {CUSTOMER: 30_000_000, UNKNOWN_HELD: -30_000_000}),
    ([admit(bound_pico=None), lost(admit(bound_pico=None))],    {}),
    ([admit(), lost(admit()), settle(admit())],                 {CUSTOMER: 12_345, REVENUE: -12_345}),
    ([admit(), settle(admit()), lost(admit())],                 {CUSTOMER: 12_345, REVENUE: -12_345}),
    ([admit(), lost(admit()), void(admit())],                   {}),
    ([settle(admit()), settle(admit(attempt=1))],               {CUSTOMER: 24_690, REVENUE: -24_690}),
]  # fmt: skip


@pytest.mark.parametrize(("records", "balances"), STORIES)
def test_what_the_books_show(records, balances):
    ledger = Ledger([*records, *records])
    assert ledger.balances == balances
    assert len(ledger.standings) == len({record.id if hasattr(record, "bound") else record.admitted.id for record in records})


def test_a_correction_is_new_rows_and_never_an_edit():
    ledger = Ledger([lost(admit())])
    before = ledger.transfers
    ledger.book(settle(admit()))
    assert ledger.transfers == (
        *before,
        Transfer("req_1.0.1", 2_000, "reversal", UNKNOWN_HELD, CUSTOMER, 30_000_000),
        Transfer("req_1.0.2", 2_000, "charge", CUSTOMER, REVENUE, 12_345),
    )
    assert [row.kind for row in before] == ["hold"]


def test_a_transfer_is_posted_once():
    ledger = Ledger()
    transfer = Transfer("t", 1, "charge", "a", "b", 5)
    assert ledger.post(transfer)
    assert not ledger.post(transfer)
    assert ledger.balances == {"a": 5, "b": -5}


@pytest.mark.parametrize(
    ("second", "says"),
    [
        (Transfer("t", 1, "charge", "a", "b", 6), "one transfer for ever"),
        (Transfer("u", 1, "charge", "a", "b", 0), "an amount is positive"),
    ],
)
def test_what_cannot_be_is_not_posted(second, says):
    ledger = Ledger()
    ledger.post(Transfer("t", 1, "charge", "a", "b", 5))
    with pytest.raises(AssertionError, match=says):
        ledger.post(second)


def test_two_projects_never_share_an_account():
    names = {customer("a/b", "c"), customer("a", "b/c"), customer("a%2Fb", "c"), customer("a", "b%2Fc")}
    assert len(names) == 4


def test_entries():
    charge, bought = Entry(CUSTOMER, revenue("m"), 5), Entry(cost("openai"), payable("openai"), 3)
    row = "openai/m@2026-03-06"
    assert entries("confirmed", "acme", "demo", "m", 5) == (charge,)
    assert entries("confirmed", "acme", "demo", "m", 5, row, 3) == (charge, bought)
    assert entries("estimated", "acme", "demo", "m", 0, row, 3) == (bought,), "what nobody pays for costs us all the same"
    assert entries("confirmed", "acme", "demo", "m", 5, row, None) == (charge,)
    assert entries("lost", "acme", "demo", "m", 5) == (Entry(CUSTOMER, UNKNOWN_HELD, 5),)
    assert entries("held", "acme", "demo", "m", 5) == ()
    assert transfers(("req", 0), 1, (charge,), (charge,), 3) == ()
    assert transfers(("req", 0), 1, (charge,), (charge, bought), 3) == (Transfer("req.0.3", 1, "cost", bought.debit, bought.credit, 3),)
