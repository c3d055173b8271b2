"""What prices say, kept beside what they were used for: with its cards a usage log can be rated again without any book."""

from collections.abc import Iterator

from headrace.core.clock import Moment
from headrace.metering.prices import Price
from headrace.metering.records import Card


def card_of(price: Price, moment: Moment) -> Card:
    return Card(price.id, moment, price.model, price.tier, price.weights, dict(price.fees), price.source)


def cards_of(price: Price, moment: Moment) -> Iterator[Card]:
    """The cards of every row that an attempt can come to which was promised this one."""
    for row in (price, *price.tiers.values()):
        yield card_of(row, moment)
        for step in row.above:
            yield card_of(step.price, moment)
