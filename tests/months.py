"""A month of usage from a seed: customers, models, tiers, long prompts, tools; attempts that failed, were lost, or were corrected."""

from collections.abc import Iterator
from datetime import date
from random import Random

import msgspec

from headrace.core.clock import SECOND
from headrace.core.usage import Usage
from headrace.metering import (
    Admit,
    Aside,
    CustomerContract,
    Lost,
    PriceBook,
    Record,
    Sale,
    Settle,
    Void,
    bought,
    cards_of,
    moment_of,
    parse_prices,
    rate_bound,
    sold,
)
from headrace.metering.prices import DAY, Price
from headrace.storage import Layout, load_once
from headrace.storage.segment import framed, header

PRICES = """
[[price]]
model = "gpt-5.4"
valid_from = 2026-03-06
usd_per_mtok = { input = "2.50", cached_input = "0.25", output = "15.00" }
above = [{ tokens_in = 272_000, usd_per_mtok = { input = "5.00", cached_input = "0.50", output = "22.50" } }]
tiers = { priority = "2", flex = "0.5", batch = "0.5" }
usd_per_call = { web_search = "0.01" }
source = "a test"

[[price]]
model = "nano"
valid_from = 2026-03-06
usd_per_mtok = { input = "0.20", cached_input = "0.02", output = "1.25", cache_write = "0.25", cache_write_1h = "0.4", audio_input = "3" }
source = "a test"

[[price]]
model = "nano"
valid_from = 2026-11-15
usd_per_mtok = { input = "0.123457", cached_input = "0.012345", output = "1.000001" }
source = "a test"
"""
BUYS = PRICES.replace('model = "gpt-5.4"', 'model = "openai/gpt-5.4"').replace('model = "nano"', 'model = "acme-cloud/nano"')
FIRST = moment_of(date(2026, 11, 1))
DAYS = 30
ORGANIZATIONS = ("acme", "globex", "o/dd; name")
BOUND = Usage(300_000, output=2_000)


class Month:
    """`records` in the order in which they were said, with the cards before their first use."""

    def __init__(self, seed: int, attempts: int = 300) -> None:
        self.rng = Random(seed)
        contract = CustomerContract(name="globex-2026", organization="globex", permille=900)
        self.sell, self.buy = PriceBook(parse_prices(PRICES), contracts=[contract]), PriceBook(parse_prices(BUYS))
        self._told: set[str] = set()
        self.records: list[Record | Aside] = []
        for number in range(attempts):
            self.records += self._attempt(number)

    @property
    def said(self) -> list[Record]:
        return [record for record in self.records if isinstance(record, Admit | Settle | Lost | Void)]

    def _attempt(self, number: int) -> Iterator[Record | Aside]:
        rng = self.rng
        model = rng.choice(["gpt-5.4", "nano", "nano", "unpriced"])
        tier = rng.choice([None, None, "flex", "priority"]) if model == "gpt-5.4" else None
        organization, project, moment = rng.choice(ORGANIZATIONS), rng.choice(["demo", "prod", "a b"]), FIRST + rng.randrange(DAYS * DAY)
        sell = self.sell.sale(Sale(model, organization, project, tier, rng.choice([1_000, 1_000, 500])), moment)
        vendor = {"gpt-5.4": "openai", "nano": "acme-cloud", "unpriced": "acme-cloud"}[model]
        buy = self.buy.price_on(f"{vendor}/{model}", moment)
        for price in (sell, buy):
            yield from self._cards(price, moment)
        admit = Admit(
            f"req_{number:05d}", 1, moment, organization, project, f"key_{rng.randrange(3)}", rng.choice(["enterprise", "batch"]), "chat",
            model, vendor, True, BOUND, rate_bound(BOUND, sell), sell.id if sell else None, None, (), 0, (), tier,
            rng.choice([None, "ann", "bob"]), buy.id if buy else None,
        )  # fmt: skip
        yield admit
        yield from self._ends(admit, sell, buy)

    def _cards(self, price: Price | None, moment: int) -> Iterator[Aside]:
        if price is not None and price.id not in self._told:
            self._told.add(price.id)
            yield from cards_of(price, moment)

    def _ends(self, admit: Admit, sell: Price | None, buy: Price | None) -> Iterator[Record]:
        kind = self.rng.random()
        if kind < 0.05:
            return  # it runs still
        if kind < 0.1:
            yield Void(admit, admit.moment + SECOND, "upstream_unreachable")
            return
        if kind < 0.2:
            yield Lost(admit, admit.moment + SECOND)
            if kind < 0.15:
                return
        yield self._settled(admit, sell, buy)
        if kind > 0.95:
            yield msgspec.structs.replace(self._settled(admit, sell, buy), moment=admit.moment + 9 * SECOND)

    def _settled(self, admit: Admit, sell: Price | None, buy: Price | None) -> Settle:
        rng = self.rng
        long = rng.random() < 0.1
        usage = Usage(
            rng.randrange(300_000 if long else 5_000), rng.randrange(9_000), rng.choice([0, 0, 40]), rng.randrange(2_000),
            rng.choice([0, 99]), cache_write_1h=rng.choice([0, 0, 7]), audio_in=rng.choice([0, 0, 11]),
        )  # fmt: skip
        served = rng.choice([None, None, "standard", "flex"]) if admit.model == "gpt-5.4" else None
        calls = (("web_search", rng.randrange(1, 4)),) if admit.model == "gpt-5.4" and rng.random() < 0.2 else ()
        row, cost = sold(usage, sell, served, calls)
        paid, buy_pico = bought(usage, buy, served, calls)
        ours = rng.random() < 0.05
        price = row.id if row and row.id != admit.price else None
        purchase = paid.id if paid and paid.id != admit.buy else None
        return Settle(
            admit, admit.moment + 3 * SECOND, usage, 0 if ours else cost, "estimated" if rng.random() < 0.1 else "confirmed", "completed",
            12, 340, admit.model, (), served, price, purchase, buy_pico, ours, calls,
        )  # fmt: skip


def write_month(layout: Layout, month: Month, rng: Random | None = None) -> Layout:
    """The month in a usage log of several segments, loaded; with `rng` in another order, and some of it said twice."""
    said = list(month.records)
    if rng is not None:
        said += rng.choices(month.records, k=20)
        rng.shuffle(said)
    for number, start in enumerate(range(0, len(said), 150)):
        frames = [framed(msgspec.msgpack.encode(record)) for record in said[start : start + 150]]
        (layout.usage / f"{number:013d}-1-000000.sealed").write_bytes(header(1, 1, "x") + b"".join(frames))
    load_once(layout, 1)
    return layout
