"""What we pay vendors by the token: which row of the buying book holds for a model at a pool."""

from collections.abc import Mapping

from headrace.core.clock import Moment
from headrace.metering.pricebook import PriceBook, Sale
from headrace.metering.prices import Price


class Purchases:
    """The buying book, by pool and our name of the model. A pool paid by the hour has no rows: its cost is shared out afterwards."""

    __slots__ = ("_book", "_sales")

    def __init__(self, book: PriceBook | None = None, names: Mapping[tuple[str, str], str] | None = None) -> None:
        """`names`: under which name the book has the model of a pool."""
        self._book = book or PriceBook()
        self._sales = {of: Sale(name) for of, name in (names or {}).items()}

    @property
    def book(self) -> PriceBook:
        return self._book

    def price_on(self, pool: str, model: str, moment: Moment, tier: str | None = None) -> Price | None:
        """The row by which `pool` is expected to charge; None: it is paid by the hour, or nobody knows."""
        sale = self._sales.get((pool, model))
        if sale is None:
            return None
        return self._book.sale(sale if tier is None else Sale(sale.model, tier=tier), moment)
