"""The price book: dated rows of what a token costs, and which row held at a moment.

A book is built of layers, the shipped rows first and the operator's after them. A layer has the last word on a model from its own
first row on: rows of earlier layers that start then or later are hidden. So a price that an operator set is never overturned by an
update of the package, and a row without a date holds for ever. What no row covers is unpriced, which is not the same as free.
"""

import tomllib
import zlib
from bisect import bisect_right
from collections.abc import Iterable
from datetime import date, timedelta

import msgspec

from headrace.core.clock import SECOND, Moment
from headrace.core.money import pico_per_token

DAY = 86_400 * SECOND
_EPOCH = date(1970, 1, 1)


class UsdPerMtok(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prices as people write them: dollars a million tokens, as text. Without a price of its own, what is cached costs the input's."""

    input: str
    cached_input: str | None = None
    output: str | None = None


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """One row: what a token of `model` costs from `valid_from` on, in pico-USD. `output_pico` of None: no price for output is known."""

    id: str
    model: str
    valid_from: Moment
    input_pico: int
    cached_input_pico: int
    output_pico: int | None
    source: str


class PriceBook:
    """Which row holds when; immutable. Later layers come before earlier ones, see the module's docstring."""

    __slots__ = ("_rows", "_shares", "_starts")

    def __init__(self, *layers: Iterable[Price]) -> None:
        rows: dict[str, tuple[Price, ...]] = {}
        for layer in layers:
            for model, own in _by_model(layer).items():
                below = (row for row in rows.get(model, ()) if row.valid_from < own[0].valid_from)
                rows[model] = (*below, *own)
        self._rows = rows
        self._shares: dict[tuple[str, int], Price] = {}
        self._starts = {model: tuple(row.valid_from for row in of_model) for model, of_model in rows.items()}

    @property
    def rows(self) -> tuple[Price, ...]:
        """Every row that can hold, by model and then by date."""
        return tuple(row for model in sorted(self._rows) for row in self._rows[model])

    def price_on(self, model: str, moment: Moment, permille: int = 1_000) -> Price | None:
        """The row of `model` with the latest start at or before `moment`, at so many thousandths of its prices; None: unpriced."""
        starts = self._starts.get(model)
        if starts is None:
            return None
        index = bisect_right(starts, moment)
        if not index:
            return None
        price = self._rows[model][index - 1]
        return price if permille == 1_000 else self._share_of(price, permille)

    def _share_of(self, price: Price, permille: int) -> Price:
        held = self._shares.get((price.id, permille))
        if held is None:
            held = self._shares[price.id, permille] = share_of(price, permille)
        return held


def share_of(price: Price, permille: int) -> Price:
    """A row at so many thousandths of its prices, such as the 500 of the batch class; half a pico-USD is rounded up."""

    def part(pico: int) -> int:
        return (pico * permille + 500) // 1_000

    return msgspec.structs.replace(
        price,
        id=f"{price.id}*{permille}",
        input_pico=part(price.input_pico),
        cached_input_pico=part(price.cached_input_pico),
        output_pico=None if price.output_pico is None else part(price.output_pico),
    )


def price_row(*, model: str, usd_per_mtok: UsdPerMtok, source: str, valid_from: date | None = None) -> Price:
    """A row from what an operator wrote; without a date it holds always. Its id names its content, so an edited price gets another id.

    Raises ValueError for an amount that is not a price.
    """
    row = _price(_Row(model=model, valid_from=valid_from or _EPOCH, usd_per_mtok=usd_per_mtok, source=source))
    content = zlib.crc32(f"{row.input_pico}/{row.cached_input_pico}/{row.output_pico}".encode())
    return msgspec.structs.replace(row, id=f"{model}@{valid_from or 'always'}-{content:08x}")


def parse_prices(text: str) -> tuple[Price, ...]:
    """The rows of a book's TOML, such as the shipped `prices.toml`. Raises ValueError that says what is wrong, and in which row."""
    try:
        rows = msgspec.convert(tomllib.loads(text), _Book).price
    except msgspec.ValidationError as wrong:
        raise ValueError(f"the price book is not right: {wrong}") from None
    return tuple(_price(row) for row in rows)


def moment_of(day: date) -> Moment:
    """The first moment of a day, UTC."""
    return (day - _EPOCH).days * DAY


def day_of(moment: Moment) -> date:
    """The day of a moment, UTC."""
    return _EPOCH + timedelta(days=moment // DAY)


class _Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    model: str
    valid_from: date
    usd_per_mtok: UsdPerMtok
    source: str


class _Book(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    price: tuple[_Row, ...] = ()


def _price(row: _Row) -> Price:
    usd = row.usd_per_mtok
    try:
        input_pico = pico_per_token(usd.input)
        cached_pico = input_pico if usd.cached_input is None else pico_per_token(usd.cached_input)
        output_pico = None if usd.output is None else pico_per_token(usd.output)
    except ValueError as wrong:
        raise ValueError(f"the price of {row.model} from {row.valid_from} on: {wrong}") from None
    return Price(
        id=f"{row.model}@{row.valid_from}",
        model=row.model,
        valid_from=moment_of(row.valid_from),
        input_pico=input_pico,
        cached_input_pico=cached_pico,
        output_pico=output_pico,
        source=row.source,
    )


def _by_model(layer: Iterable[Price]) -> dict[str, tuple[Price, ...]]:
    """The rows of one layer by model, in order of date; of two that start together the later in the layer holds."""
    rows: dict[str, dict[Moment, Price]] = {}
    for row in layer:
        rows.setdefault(row.model, {})[row.valid_from] = row
    return {model: tuple(starts[start] for start in sorted(starts)) for model, starts in rows.items()}
