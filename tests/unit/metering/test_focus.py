"""FOCUS rows and journals, line by line."""

from decimal import Decimal

import pytest

from headrace.metering import Line, Owner, invoice, other_line
from headrace.metering.focus import COLUMNS, Names, rows_of
from headrace.metering.hledger import Posted, exact, journal, named

OWNER = Owner("acme", "demo", "key_1", "enterprise", "chat", "m", "priority", "m@always", "a")
DAY = 20_760  # 2026-11-03
LINES = [
    Line(DAY, OWNER, "uncached", 1_250_000, 2_500_000, 1_250_000 * 2_500_000),
    Line(DAY, OWNER, "audio_read", 3, 1, 3),
    Line(DAY, OWNER, "cache_write_1h", 3, 1, 3),
    Line(DAY, OWNER, "output", 3, 1, 3),
    Line(DAY, OWNER, "held", 2, None, 5),
    Line(DAY, OWNER, "unsplit", 0, None, 7),
]


def test_rows():
    rows = list(rows_of(LINES, Names(keys={"key_1": "dev"}, publishers={"m": "openai"})))
    assert all(tuple(row) == COLUMNS for row in rows)
    first, audio, written, said, held, unsplit = rows
    assert (first["BilledCost"], first["PricingQuantity"], first["ListUnitPrice"]) == ("3.125000000000", "1.250000", "2.500000000000")
    assert (first["ResourceName"], first["PublisherName"], first["SkuMeter"]) == ("dev", "openai", "Input Tokens")
    assert (first["ChargePeriodStart"], first["BillingPeriodEnd"]) == ("2026-11-03T00:00:00Z", "2026-12-01T00:00:00Z")
    assert first["ChargeDescription"] == "m: input tokens, priority tier"
    assert first["SkuPriceDetails"] == '{"x_TokenDirection":"Input","x_TokenCacheAction":"Uncached","x_Modality":"text"}'
    assert audio["SkuPriceDetails"] == '{"x_TokenDirection":"Input","x_TokenCacheAction":"Read","x_Modality":"audio"}'
    assert written["SkuPriceDetails"] == '{"x_TokenDirection":"Input","x_TokenCacheAction":"Write","x_Modality":"text"}'
    assert said["SkuPriceDetails"] == '{"x_TokenDirection":"Output","x_Modality":"text"}'
    assert (held["ConsumedUnit"], held["PricingUnit"], held["SkuPriceDetails"]) == ("Requests", "Requests", "{}")
    assert (unsplit["ConsumedUnit"], unsplit["ListUnitPrice"]) == ("Tokens", "0.000000000000")


def test_an_invoice_ends_with_what_else_stands_on_it():
    others = [
        other_line("credit", "2026-11", -(10**12), "sorry"),
        other_line("correction", "2026-10", 3, "late"),
        other_line("adjustment", "2026-11", 0, ""),
    ]
    made = invoice(number="n", organization="acme", month="2026-11", issued=1, lines=LINES, others=others)
    rows = list(rows_of(LINES, Names(), {("acme", "2026-11"): made}))[len(LINES) :]
    assert [(row["ChargeCategory"], row["ChargeClass"], row["ChargeDescription"]) for row in rows] == [
        ("Credit", "", "sorry"),
        ("Adjustment", "Correction", "late"),
        ("Adjustment", "", "Rounding of invoice n"),
    ]
    total = sum(Decimal(row["BilledCost"]) for row in rows_of(LINES, Names(), {("acme", "2026-11"): made}))
    assert total * 100 == made.total_cents
    even = invoice(number="n", organization="acme", month="2026-12", issued=1, lines=[])
    assert list(rows_of([], Names(), {("acme", "2026-12"): even})) == []


@pytest.mark.parametrize(
    ("account", "name"),
    [
        ("customer:acme/demo", "assets:receivable:acme:demo"),
        ("customer:a  b;c/d:e", "assets:receivable:a b c:d e"),
        ("suspense:unknown_held", "liabilities:suspense:unknown_held"),
        ("other:;", "other:-"),
    ],
)
def test_accounts(account, name):
    assert named(account) == name


def test_the_journal():
    rows = [Posted("2026-11-03", "usage", "customer:acme/demo", "revenue:m", 7), Posted("2026-11-03", "usage", "a:x", "b:y", 0)]
    assert journal(rows, "a test") == (
        "; a test\ncommodity 0.000000000000 USD\naccount assets:receivable:acme:demo\naccount revenues:m\n\n"
        "2026-11-03 * usage\n    assets:receivable:acme:demo    0.000000000007 USD\n    revenues:m    -0.000000000007 USD\n"
    )
    assert exact(-1_500_000_000_000) == "-1.500000000000"
