"""Invoices: rounded once a line, with what that left out shown; corrected by later lines; and checked by themselves."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.metering import Attempted, Invoice, Line, Owner, corrections, faults, invoice, other_line, prove
from headrace.metering.invoices import PICO_PER_CENT, cents, rounded

OWNER = Owner("acme", "demo", "key_1", "enterprise", "chat", "m", "", "m@always", "a")
HALF = PICO_PER_CENT // 2


def line(quantity: int = 1, pico: int = 7 * PICO_PER_CENT, segment: str = "uncached") -> Line:
    return Line(0, OWNER, segment, quantity, pico, quantity * pico)


def an_invoice(*lines: Line) -> Invoice:
    return invoice(number="2026-11-acme", organization="acme", month="2026-11", issued=1, lines=lines)


@pytest.mark.parametrize(
    ("pico", "amount"),
    [(0, 0), (HALF - 1, 0), (HALF, 0), (HALF + 1, 1), (3 * HALF, 2), (5 * HALF, 2), (-HALF, 0), (-HALF - 1, -1), (-3 * HALF, -2)],
)
def test_half_goes_to_the_even_cent(pico, amount):
    assert rounded(pico) == amount


@given(st.lists(st.integers(-(10**15), 10**15), max_size=20))
def test_lines_total_and_residue_agree(amounts):
    made = an_invoice(*(Line(at, OWNER, "fees", 1, None, pico) for at, pico in enumerate(amounts)))
    assert made.exact_pico == sum(amounts)
    assert made.exact_pico == made.total_cents * PICO_PER_CENT + made.residue_pico
    assert made.residue_pico == sum(one.residue_pico for one in made.lines)
    assert abs(made.residue_pico) <= HALF * max(1, len(made.lines))
    assert faults(made) == []


def test_lines_of_several_keys_are_one():
    other = Line(0, msgspec.structs.replace(OWNER, key="key_2", pool="b"), "uncached", 2, 7 * PICO_PER_CENT, 14 * PICO_PER_CENT)
    made = an_invoice(line(), other)
    assert [(one.quantity, one.amount_cents) for one in made.lines] == [(3, 21)]
    assert (made.total_usd, cents(-123_456)) == ("0.21", "-1,234.56")


WRONG = [
    (lambda made: msgspec.structs.replace(made, total_cents=8), "the lines add up to 0.07, the total says 0.08"),
    (lambda made: msgspec.structs.replace(made, exact_pico=1), "what the rounding left out"),
    (lambda made: _with(made, amount_cents=8), "8 cents is not 0.07 rounded half to even"),
    (lambda made: _with(made, quantity=2), "2 at 70000000000 pico-USD is not 70000000000"),
]


def _with(made: Invoice, **fields: int) -> Invoice:
    return msgspec.structs.replace(made, lines=(msgspec.structs.replace(made.lines[0], **fields),))


@pytest.mark.parametrize(("wrong", "says"), WRONG)
def test_what_is_wrong_is_found(wrong, says):
    assert any(says in fault for fault in faults(wrong(an_invoice(line()))))
    assert faults(an_invoice(line()), []) == ["the records cost 0.00, the invoice's usage is 0.07"]
    assert "made of 1 records" in faults(msgspec.structs.replace(an_invoice(), records=1), [])[0]


def test_an_invoice_is_checked_by_its_records():
    record = Attempted("req_1", 1, "confirmed", 1, "demo", "key_1", "m", "", "m@always", (1,), 7 * PICO_PER_CENT)
    made = invoice(number="n", organization="acme", month="2026-11", issued=1, lines=[line()], leaves=[record.leaf])
    assert faults(made, [record]) == []
    assert faults(made, [msgspec.structs.replace(record, key="key_2")]) == [
        "the Merkle root over the records is another than the invoice's"
    ]


def test_a_record_is_proved_to_be_on_an_invoice():
    records = [Attempted(f"req_{at}", 1, "confirmed", 1, "demo", "key_1", "m", "", "m@always", (1,), at) for at in range(5)]
    made = invoice(number="n", organization="acme", month="2026-11", issued=1, lines=[], leaves=[record.leaf for record in records])
    (proven,) = prove(made, records, "req_3")
    assert (proven.holds, proven.record, prove(made, records, "req_9")) == (True, records[3], [])
    assert not msgspec.structs.replace(proven, record=records[2]).holds
    with pytest.raises(ValueError, match="are not those that n was made of"):
        prove(made, records[:4], "req_3")


def test_what_is_learned_later_is_a_correction_once():
    made = an_invoice(line(3), line(2, segment="output"))
    known = list(made.lines)
    assert corrections(known, [line(3), line(2, segment="output")], "2026-11") == []
    (later,) = corrections(known, [line(5), line(2, segment="output")], "2026-11")
    assert (later.kind, later.segment, later.quantity, later.exact_pico) == ("correction", "uncached", 2, 14 * PICO_PER_CENT)
    assert corrections([*known, later], [line(5), line(2, segment="output")], "2026-11") == []
    assert [one.exact_pico for one in corrections(known, [], "2026-11")] == [-21 * PICO_PER_CENT, -14 * PICO_PER_CENT]
    assert corrections(known, [], "2026-10") == []


def test_a_credit_is_a_line_below_zero():
    made = invoice(
        number="n",
        organization="acme",
        month="2026-11",
        issued=1,
        lines=[line()],
        others=[other_line("credit", "2026-11", -PICO_PER_CENT, "sorry")],
    )
    assert (made.total_cents, [one.kind for one in made.lines]) == (6, ["usage", "credit"])
