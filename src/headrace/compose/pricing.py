"""What commands ask of the price books: their rows, another row, another book beside ours, what is wrong, a period under other prices."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from headrace.compose.acts import command_noted, shared_state
from headrace.compose.clock import MachineClock
from headrace.compose.finance import Finance
from headrace.compose.place import Place
from headrace.compose.prices import catalogue, price_book, purchases
from headrace.compose.reconciling import Reconciled, reconcile
from headrace.compose.settings import Settings
from headrace.compose.whatif import Changed, rerated
from headrace.core.clock import Moment
from headrace.core.money import usd_per_mtok
from headrace.core.usage import SEGMENTS
from headrace.metering import Price, PriceBook, Purchases, WrittenPrice, parse_prices, read_prices
from headrace.portfolio import Rented
from headrace.routing import CLASSES
from headrace.storage import PriceSet, make_folder, set_price

Grade = Literal["error", "warning"]


class PriceChange(msgspec.Struct, frozen=True):
    """One number of one model that two books say otherwise; None: one of them has no price for it."""

    model: str
    what: str
    ours: int | None
    theirs: int | None


class PriceFault(msgspec.Struct, frozen=True):
    """What is wrong with the price of a model at a pool."""

    grade: Grade
    model: str
    pool: str
    what: str


def moment_now() -> Moment:
    return MachineClock().moment()


def finance_of(place: Place) -> Finance:
    """The finance of the place's data folder."""
    return Finance(make_folder(Path(place.settings().storage.path)))


def sets_of(place: Place) -> list[PriceSet]:
    """The prices that were set at run time."""
    return shared_state(place).prices()


def price_rows(place: Place, *, buy: bool, model: str | None, everything: bool) -> list[Price]:
    """The rows of a book: of what pools serve and what was set or shipped, or of everything that is known."""
    settings, prices = place.settings(), sets_of(place)
    if buy:
        return [row for row in purchases(settings, prices).book.rows if model is None or row.model.partition("/")[2] == model]
    rows, listed = price_book(settings, prices).rows, catalogue().source
    served = {name for pool in settings.pool for name in pool.models}
    if model is not None:
        return [row for row in rows if row.model == model]
    return [row for row in rows if everything or row.model in served or row.source != listed]


def set_price_row(place: Place, written: WrittenPrice, vendor: str | None) -> Price:
    """Add a row. Raises ValueError for what is no price."""
    state = shared_state(place)
    if vendor is not None:
        written = msgspec.structs.replace(written, model=f"{vendor}/{written.model}")
    asked = PriceSet("sell" if vendor is None else "buy", vendor, written, moment_now())
    with state.opened() as database:
        set_price(database, state.layout, asked)
    command_noted(place, "price.updated", written.model, {"vendor": vendor, "source": written.source})
    return asked.price


def price_changes(place: Place, text: str) -> list[PriceChange]:
    """Where another book differs from ours, now. Raises ValueError."""
    theirs, now = PriceBook(parse_prices(text)), moment_now()
    ours = price_book(place.settings(), sets_of(place))
    changes = []
    for model in sorted({row.model for row in theirs.rows}):
        mine, its = ours.price_on(model, now), theirs.price_on(model, now)
        changes += [PriceChange(model, what, one, other) for what, one, other in _numbers(mine, its) if one != other]
    return changes


def price_change(pico: int | None) -> str | None:
    return None if pico is None else usd_per_mtok(pico)


def price_faults(place: Place) -> list[PriceFault]:
    """What is wrong with the prices of what is served."""
    settings, prices, now = place.settings(), sets_of(place), moment_now()
    sell, buy = price_book(settings, prices), purchases(settings, prices)
    return sorted(_faults(settings, sell, buy, now), key=lambda one: (one.grade, one.model, one.pool))


def rerate(place: Place, since: Moment, until: Moment, text: str | None, known: Moment | None, tier: str | None) -> list[Changed]:
    """A period under our book as it is now, or as it was known; with other rows above it. Raises ValueError."""
    settings, prices = place.settings(), sets_of(place)
    if text is not None:
        prices = [*prices, *(PriceSet("sell", None, written, 0) for written in read_prices(text))]
    book = price_book(settings, prices)
    shares: dict[str, int] = {name: terms.price_permille for name, terms in CLASSES.items()}
    shares |= {one.name: one.price_permille for one in settings.traffic_class if one.price_permille is not None}
    return rerated(finance_of(place).rated(since, until), book if known is None else book.as_known(known), shares, tier)


def reconciled(place: Place, vendor: str, texts: list[str]) -> Reconciled:
    """A vendor's files against our books. Raises ValueError."""
    return reconcile(finance_of(place), purchases(place.settings(), sets_of(place)).book, vendor, texts)


def _numbers(mine: Price | None, its: Price | None) -> Iterator[tuple[str, int | None, int | None]]:
    nothing: tuple[int | None, ...] = (None,) * len(SEGMENTS)
    yield from zip(SEGMENTS, mine.weights if mine else nothing, its.weights if its else nothing, strict=True)
    for name in sorted({*(mine.tiers if mine else ()), *(its.tiers if its else ())}):
        yield f"{name} input", _tier(mine, name), _tier(its, name)


def _tier(price: Price | None, name: str) -> int | None:
    found = None if price is None else price.tiers.get(name)
    return None if found is None else found.input_pico


def _faults(settings: Settings, sell: PriceBook, buys: Purchases, now: Moment) -> Iterator[PriceFault]:
    for pool in settings.pool:
        for ours in pool.models:
            price = sell.price_on(ours, now)
            if price is None:
                yield PriceFault("error", ours, pool.name, "it is sold without a price: unpriced, and refused under a hard budget")
                continue
            if isinstance(pool.contract, Rented) or pool.dialect == "local":
                continue
            cost = buys.price_on(pool.name, ours, now)
            if cost is None:
                yield PriceFault("warning", ours, pool.name, "nobody knows what the vendor charges: headrace price set --vendor")
            elif cost.input_pico > price.input_pico or (cost.output_pico or 0) > (price.output_pico or 0):
                yield PriceFault("warning", ours, pool.name, "it is sold below what the vendor charges")
