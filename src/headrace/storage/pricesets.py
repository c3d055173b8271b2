"""Prices that were set at run time: appended with the moment at which they were, never changed."""

from typing import Final, Literal, TypeAlias

import msgspec

from headrace.core.clock import Moment
from headrace.metering import Price, WrittenPrice, compiled
from headrace.storage.database import Database, transaction
from headrace.storage.folder import Layout
from headrace.storage.generations import announce

Side: TypeAlias = Literal["sell", "buy"]
_written: Final = msgspec.json.Decoder(WrittenPrice).decode


class PriceSet(msgspec.Struct, frozen=True):
    """A row of the book of what is sold, or of what is bought from a vendor."""

    side: Side
    vendor: str | None
    written: WrittenPrice
    recorded: Moment

    @property
    def price(self) -> Price:
        return compiled(self.written, recorded=self.recorded)


def price_sets(database: Database) -> list[PriceSet]:
    """All that were set, in their order."""
    rows = database.execute("SELECT side, vendor, content, recorded FROM price_set ORDER BY id")
    return [PriceSet(side, vendor, _written(content), recorded) for side, vendor, content, recorded in rows]


def set_price(database: Database, layout: Layout, asked: PriceSet) -> None:
    """Add a row; a running server sees it within a second. Raises ValueError for an amount that is not a price."""
    assert asked.price.recorded == asked.recorded
    with transaction(database, "prices"):
        database.execute(
            "INSERT INTO price_set (side, vendor, content, recorded) VALUES (?, ?, ?, ?)",
            (asked.side, asked.vendor, msgspec.json.encode(asked.written), asked.recorded),
        )
    announce(database, layout.prices_generation)
