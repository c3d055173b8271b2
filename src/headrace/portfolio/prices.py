"""What clouds ask for an accelerator-hour: dated list prices, never negotiated ones, and published estimates of owning."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Literal, TypeAlias

import msgspec

from headrace.portfolio.costs import pico_per_hour
from headrace.portfolio.jurisdictions import COUNTRIES
from headrace.portfolio.tables import read_tables, rows

HourlyKind: TypeAlias = Literal["on_demand", "spot", "reserved", "owned"]
PriceGrade: TypeAlias = Literal["list", "estimated"]
EVERYWHERE = "*"


class PriceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One price of an accelerator-hour, in pico-USD, from `min` to `max`, which are the same where it is one price.

    `cloud` of None: of no cloud in particular. It holds in `region`, or all over `country`, or with neither in all of the cloud.
    """

    cloud: str | None
    region: str | None
    country: str | None
    silicon: str
    contract: HourlyKind
    pico_per_accelerator_hour_min: int
    pico_per_accelerator_hour_max: int
    grade: PriceGrade
    source: str
    as_of: date

    @property
    def specificity(self) -> tuple[bool, bool, bool]:
        """Compares as: a row of this cloud before one of any, of this region before its country, of its country before everywhere."""
        return self.cloud is not None, self.region is not None, self.country is not None

    def covers(self, cloud: str, region: str, country: str | None) -> bool:
        if self.cloud not in (None, cloud):
            return False
        if self.region is not None:
            return self.region == region
        return self.country is None or self.country == country


def parse_list_prices(text: str) -> tuple[PriceRow, ...]:
    """The prices of a TOML text, such as the shipped `prices.toml`. Raises ValueError that says what is wrong, and in which row."""
    lists = rows(read_tables(text, "list prices", frozenset({"list"}))["list"], "list prices", _List)
    return tuple(row for each in lists for row in _price_rows(each))


class _List(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`usd_per_accelerator_hour`: by region, country code or `*`, then by silicon; a price, or the lowest and the highest."""

    cloud: str | None = None
    contract: HourlyKind
    grade: PriceGrade = "list"
    usd_per_accelerator_hour: Mapping[str, Mapping[str, str | tuple[str, str]]]
    source: str
    as_of: date


def _price_rows(each: _List) -> Iterator[PriceRow]:
    for where, prices in each.usd_per_accelerator_hour.items():
        for silicon, usd in prices.items():
            low, high = (usd, usd) if isinstance(usd, str) else usd
            try:
                pico_min, pico_max = pico_per_hour(low), pico_per_hour(high)
            except ValueError as wrong:
                raise ValueError(f"the {each.contract} price of {silicon} at {each.cloud} in {where}: {wrong}") from None
            if pico_min > pico_max:
                raise ValueError(f"the {each.contract} price of {silicon} at {each.cloud} in {where} ends below its beginning")
            yield PriceRow(
                cloud=each.cloud,
                region=where if where not in COUNTRIES and where != EVERYWHERE else None,
                country=where if where in COUNTRIES else None,
                silicon=silicon,
                contract=each.contract,
                pico_per_accelerator_hour_min=pico_min,
                pico_per_accelerator_hour_max=pico_max,
                grade=each.grade,
                source=each.source,
                as_of=each.as_of,
            )
