"""Vendors' published prices: the rows that ship, by whatever name a vendor's model is asked for."""

from datetime import date
from importlib.resources import files

import pytest

from headrace.core.usage import Usage
from headrace.metering import Catalogue, PriceBook, Purchases, Sale, bought, moment_of, rate

SHIPPED = Catalogue((files("headrace.metering") / "data" / "catalogue.json").read_bytes())
NOVEMBER = moment_of(date(2026, 11, 27))


def test_what_openai_charges_for_the_published_catalogue():
    rows = SHIPPED.bought("openai", "gpt-5.4")
    book = PriceBook(rows)
    price = book.price_on("openai/gpt-5.4", NOVEMBER)
    assert price is not None
    assert (price.input_pico, price.cached_input_pico, price.output_pico) == (2_500_000, 250_000, 15_000_000)
    longer = price.at(272_001)
    assert (longer.input_pico, longer.cached_input_pico, longer.output_pico) == (5_000_000, 500_000, 22_500_000)
    assert price.at(272_000) is price
    assert {tier: row.input_pico for tier, row in price.tiers.items()} == {"flex": 1_250_000, "priority": 5_000_000, "batch": 1_250_000}
    assert price.tiers["flex"].cached_input_pico == 130_000, "as OpenAI publishes it, rounded"
    before = book.price_on("openai/gpt-5.4", moment_of(date(2026, 10, 1)))
    assert before is not None
    assert before.tiers == {}, "what tiers cost before is not known"


@pytest.mark.parametrize(
    ("vendor", "model", "known"),
    [
        ("openai", "gpt-5.4", True),
        ("openai", "gpt-5.4-2026-03-05", True),
        ("anthropic", "claude-opus-4-20250514", True),
        ("azure", "gpt-5.4-nano", True),
        ("openai", "gpt-5.4-20990101", True),
        ("openai", "gpt-999", False),
        ("nobody", "gpt-5.4", False),
    ],
)
def test_names(vendor, model, known):
    rows = SHIPPED.bought(vendor, model)
    assert bool(rows) is known
    assert {row.model for row in rows} <= {f"{vendor}/{model}"}


def test_what_is_sold_without_a_price_of_ours_costs_what_its_maker_asks():
    (price,) = SHIPPED.sold("gpt-5.4-nano")[:1]
    assert (price.model, price.input_pico, price.fees["web_search"]) == ("gpt-5.4-nano", 200_000, 10_000_000_000)
    assert SHIPPED.sold("gpt-999") == ()
    assert "gpt-5.4" in set(SHIPPED.models())


def test_a_cost_of_nothing_is_no_price():
    free = Catalogue(b'{"source":"s","fallbacks":{},"aliases":{},"rows":[["openai","m",0,{"uncached":0},[],{},{}]]}')
    assert free.sold("m") == ()
    assert len(free.bought("openai", "m")) == 1


def test_purchases_by_pool():
    buys = Purchases(PriceBook(SHIPPED.bought("openai", "gpt-5.4")), {("a", "ours"): "openai/gpt-5.4"})
    standard, flex = buys.price_on("a", "ours", NOVEMBER), buys.price_on("a", "ours", NOVEMBER, "flex")
    assert rate(Usage(10), standard) == 25_000_000
    assert rate(Usage(10), flex) == 12_500_000
    assert bought(Usage(10), standard, "flex")[1] == 12_500_000
    assert bought(Usage(10), standard, "ultrafast") == (None, None), "an unknown tier has no price"
    assert bought(Usage(10), None) == (None, None)
    assert buys.price_on("b", "ours", NOVEMBER) is None
    assert buys.book.sale(Sale("openai/gpt-5.4", tier="scale"), NOVEMBER) is None
    assert Purchases().price_on("a", "ours", NOVEMBER) is None
