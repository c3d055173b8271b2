"""What prices say, kept beside what they were used for: with its cards a usage log can be rated again without any book."""

from collections.abc import Iterator

from headrace.core.clock import Moment
from headrace.metering.prices import Price
from headrace.metering.records import Card


def card_of(price: Price, moment: Moment) -> Card:
    listed = None if price.listed is None else price.listed.id
    return Card(price.id, moment, price.model, price.tier, price.weights, dict(price.fees), price.source, listed)


def cards_of(price: Price, moment: Moment) -> Iterator[Card]:
    """The cards of every row that an attempt can come to which was promised this one, and of the list prices beside them."""
    for tier in (price, *price.tiers.values()):
        for row in (tier, *(step.price for step in tier.above)):
            yield card_of(row, moment)
            if row.listed is not None:
                yield card_of(row.listed, moment)
