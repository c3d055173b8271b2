"""What is charged to whom, where and when: contracts, tiers, classes, places, ends, and the book as it was known."""

from datetime import date

import msgspec
import pytest

from headrace.core.usage import Usage
from headrace.metering import (
    Above,
    CustomerContract,
    Price,
    PriceBook,
    Sale,
    Uplift,
    UsdPerMtok,
    WrittenPrice,
    cards_of,
    compiled,
    moment_of,
    pricebook,
    rate,
)
from headrace.testing.builders import a_pool

MARCH, MAY, JULY = (moment_of(date(2026, month, 1)) for month in (3, 5, 7))
TOKEN = Usage(1)


def row(usd: str, start: date | None = None, end: date | None = None, *, tiers: dict[str, str] | None = None, recorded: int = 0) -> Price:
    written = WrittenPrice(
        model="m", usd_per_mtok=UsdPerMtok(input=usd), source="a test", valid_from=start, valid_to=end, tiers=tiers or {}
    )
    return compiled(written, recorded=recorded)


LIST = row("1", tiers={"priority": "2", "flex": "0.5"})
PLAIN = row("1")
ACME = CustomerContract(name="acme", organization="acme", permille=900)
ACME_DEMO = CustomerContract(name="demo", organization="acme", project="demo", permille=800)
ACME_M = CustomerContract(name="m", organization="acme", models=frozenset({"m"}), permille=700)
OWN = CustomerContract(name="own", organization="acme", models=frozenset({"m"}), prices=(row("0.3"),), valid_from=MARCH, valid_to=MAY)
EU = Uplift(permille=1_100, jurisdiction="eu")
HERE, EUROPE = a_pool("here"), a_pool("europe", jurisdictions=frozenset({"eu"}))

SALES = [
    # the book                                     the sale                                      where    pico a token
    (PriceBook([LIST]),                            Sale("m"),                                    HERE,    1_000_000),
    (PriceBook([LIST]),                            Sale("m", permille=500),                      HERE,    500_000),
    (PriceBook([LIST]),                            Sale("m", tier="priority"),                   HERE,    2_000_000),
    (PriceBook([LIST]),                            Sale("m", tier="flex", permille=500),         HERE,    500_000),
    (PriceBook([LIST]),                            Sale("m", tier="standard", permille=500),     HERE,    500_000),
    (PriceBook([LIST]),                            Sale("m", tier="ultrafast"),                  HERE,    None),
    (PriceBook([PLAIN]),                           Sale("m", tier="priority", permille=500),     HERE,    500_000),
    (PriceBook([LIST]),                            Sale("other"),                                HERE,    None),
    (PriceBook([LIST], contracts=[ACME]),          Sale("m", "acme", "x"),                       HERE,    900_000),
    (PriceBook([LIST], contracts=[ACME]),          Sale("m", "globex", "x"),                     HERE,    1_000_000),
    (PriceBook([LIST], contracts=[ACME]),          Sale("other", "acme", "x"),                   HERE,    None),
    (PriceBook([LIST], contracts=[ACME]),          Sale("m", "acme", "x", "flex"),               HERE,    450_000),
    (PriceBook([LIST], contracts=[ACME, ACME_M]),  Sale("m", "acme", "x"),                       HERE,    700_000),
    (PriceBook([LIST], contracts=[ACME_M, ACME_DEMO]), Sale("m", "acme", "demo"),                HERE,    800_000),
    (PriceBook([LIST], contracts=[OWN]),           Sale("m", "acme", "x"),                       HERE,    300_000),
    (PriceBook([LIST], contracts=[OWN], uplifts=[EU]), Sale("m", "acme", "x"),                   EUROPE,  300_000),
    (PriceBook([LIST], uplifts=[EU]),              Sale("m"),                                    HERE,    1_000_000),
    (PriceBook([LIST], uplifts=[EU]),              Sale("m"),                                    EUROPE,  1_100_000),
    (PriceBook([LIST], uplifts=[EU]),              Sale("m"),                                    None,    1_100_000),
    (PriceBook([LIST], uplifts=[EU]),              Sale("m", tier="ultrafast"),                  EUROPE,  None),
]  # fmt: skip


@pytest.mark.parametrize(("book", "sale", "pool", "pico"), SALES)
def test_what_is_charged(book, sale, pool, pico):
    assert rate(TOKEN, book.sale(sale, MARCH, pool)) == pico
    assert book.sale(sale, MARCH, pool) is book.sale(sale, MARCH, pool), "it is worked out once"


def test_an_agreed_price_knows_the_list_price_beside_it():
    long = Above(tokens_in=100, usd_per_mtok=UsdPerMtok(input="2"))
    written = WrittenPrice(model="m", usd_per_mtok=UsdPerMtok(input="1"), source="a test", above=(long,), tiers={"flex": "0.5"})
    book = PriceBook([compiled(written)], contracts=[ACME], uplifts=[EU])
    price = book.sale(Sale("m", "acme", tier="flex", permille=500), MARCH, EUROPE)
    assert price is not None
    assert price.listed is not None
    assert (price.input_pico, price.listed.input_pico) == (495_000, 550_000)
    longer = price.at(101)
    assert longer.listed is not None
    assert (longer.input_pico, longer.listed.input_pico) == (990_000, 1_100_000)
    own = PriceBook([compiled(written)], contracts=[OWN]).sale(Sale("m", "acme"), MARCH, HERE)
    assert own is not None
    assert own.listed is not None
    assert (own.input_pico, own.listed.input_pico) == (300_000, 1_000_000)
    assert {card.id for card in cards_of(own, 1)} == {own.id, own.listed.id}
    alone = PriceBook([], contracts=[OWN]).sale(Sale("m", "acme"), MARCH, HERE)
    assert alone is not None
    assert alone.listed is None
    tiers = CustomerContract(name="t", organization="acme", prices=(row("0.3", tiers={"scale": "3"}),))
    scale = PriceBook([compiled(written)], contracts=[tiers]).sale(Sale("m", "acme", tier="scale"), MARCH, HERE)
    assert scale is not None
    assert scale.listed is None, "the list has no such tier"


def test_a_contract_that_is_over_no_longer_holds():
    book = PriceBook([LIST], contracts=[OWN])
    assert [rate(TOKEN, book.sale(Sale("m", "acme"), moment)) for moment in (0, MARCH, MAY - 1, MAY)] == [
        1_000_000,
        300_000,
        300_000,
        1_000_000,
    ]
    assert book.contracts == (OWN,)


def test_a_row_that_ends_gives_way_to_the_one_before_it():
    book = PriceBook([row("3", date(2026, 3, 1)), row("1", date(2026, 5, 1), date(2026, 7, 1))])
    found = [book.sale(Sale("m"), moment) for moment in (MARCH - 1, MARCH, MAY, JULY - 1, JULY)]
    assert [price and price.input_pico for price in found] == [None, 3_000_000, 1_000_000, 1_000_000, 3_000_000]


def test_the_book_as_it_was_known():
    book = PriceBook([row("3", date(2026, 3, 1))], [row("2", date(2026, 3, 1), recorded=JULY)])
    assert rate(TOKEN, book.price_on("m", MAY)) == 2_000_000
    assert rate(TOKEN, book.as_known(MAY).price_on("m", MAY)) == 3_000_000


def test_what_is_kept_in_memory_has_an_end(monkeypatch):
    monkeypatch.setattr(pricebook, "KEPT_MAX", 2)
    book = PriceBook([LIST])
    assert [rate(TOKEN, book.sale(Sale("m", str(number)), MARCH)) for number in range(9)] == [1_000_000] * 9


def test_an_uplift_holds_where_all_that_it_names_is_so():
    pool = a_pool("x", cloud="oci", region="eu-frankfurt-2", jurisdictions=frozenset({"eu"}))
    named = Uplift(permille=1_100, jurisdiction="eu", cloud="oci", region="eu-frankfurt-2", models=frozenset({"m"}))
    assert named.covers(pool, "m")
    assert not named.covers(pool, "n")
    for field in ("jurisdiction", "cloud", "region"):
        assert not msgspec.structs.replace(named, **{field: "elsewhere"}).covers(pool, "m")
