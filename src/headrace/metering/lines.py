"""What was used and charged, in lines that any report, invoice or export is made of: by who, model, tier, price and segment.

A line's cost is its count times its price, exactly. What has no such price (an attempt held at its bound, one rated before prices were kept
in the log, a fee) is a line of its own, so that lines always add up to what was charged, to the last pico-dollar.
"""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from headrace.core.usage import SEGMENTS, Segment, Usage
from headrace.metering.records import Card, State

HELD, UNSPLIT, FEES, UNPRICED = "held", "unsplit", "fees", "unpriced"
METERS: Mapping[str, str] = {
    "uncached": "Input Tokens",
    "cache_read": "Cached Input Tokens",
    "cache_write": "Cache Write Tokens",
    "output": "Output Tokens",
    "reasoning": "Reasoning Tokens",
    "cache_write_30m": "Cache Write Tokens, 30 minutes",
    "cache_write_1h": "Cache Write Tokens, 1 hour",
    "cache_write_12h": "Cache Write Tokens, 12 hours",
    "audio_in": "Audio Input Tokens",
    "image_in": "Image Input Tokens",
    "audio_read": "Cached Audio Input Tokens",
    "image_read": "Cached Image Input Tokens",
    "audio_out": "Audio Output Tokens",
    "image_out": "Image Output Tokens",
    HELD: "Held at Bound",
    UNSPLIT: "Tokens",
    FEES: "Calls",
    UNPRICED: "Unpriced Tokens",
}
"""What people read for a segment."""


class Owner(msgspec.Struct, frozen=True, order=True):
    """Whose usage it is, and of what: all that a line is told apart by beside its segment."""

    organization: str
    project: str
    key: str
    traffic_class: str
    operation: str
    model: str
    tier: str
    price: str
    pool: str


class Sum(msgspec.Struct, frozen=True):
    """What attempts of one owner and one state add up to, in one bucket of time. `cost_pico` of unpriced ones is 0."""

    bucket: int
    owner: Owner
    state: State
    requests: int
    tokens: tuple[int, ...]
    cost_pico: int


class Line(msgspec.Struct, frozen=True):
    """So many tokens (or requests, of what is not counted in tokens) of one segment, at one price, and what they cost. `list_unit_pico` is
    the list price, where the customer has agreed on another."""

    bucket: int
    owner: Owner
    segment: str
    quantity: int
    unit_pico: int | None
    cost_pico: int
    list_unit_pico: int | None = None

    @property
    def list_pico(self) -> int:
        """What it costs at the list price."""
        return self.cost_pico if self.list_unit_pico is None else self.quantity * self.list_unit_pico


def lines_of(sums: Iterable[Sum], cards: Mapping[str, Card]) -> Iterator[Line]:
    """The lines of what customers pay. Their costs add up to those of `sums`, whatever is known of prices."""
    for each in sums:
        if each.state in ("held", "void") or not each.requests:
            continue
        card = cards.get(each.owner.price)
        if each.state == "lost":
            yield Line(each.bucket, each.owner, HELD, each.requests, None, each.cost_pico)
        elif not each.owner.price:
            yield Line(each.bucket, each.owner, UNPRICED, sum(each.tokens), None, each.cost_pico)
        elif card is None:
            yield Line(each.bucket, each.owner, UNSPLIT, sum(each.tokens), None, each.cost_pico)
        else:
            yield from _split(each, card, cards.get(card.listed or ""))


def _split(each: Sum, card: Card, listed: Card | None) -> Iterator[Line]:
    rest = each.cost_pico
    full = (None,) * len(SEGMENTS) if listed is None else listed.weights
    for segment, count, pico, list_pico in zip(SEGMENTS, each.tokens, card.weights, full, strict=True):
        if count and pico is not None:
            rest -= count * pico
            yield Line(each.bucket, each.owner, segment, count, pico, count * pico, list_pico)
    if rest:
        yield Line(each.bucket, each.owner, FEES, each.requests, None, rest)


def merged(lines: Iterable[Line], of: Mapping[str, str]) -> list[Line]:
    """Lines added up whose owners are the same but for the fields that `of` sets, such as `{"key": ""}` for lines without keys."""
    sums: dict[tuple[int, Owner, str, int | None, int | None], tuple[int, int]] = {}
    for line in lines:
        name = line.bucket, msgspec.structs.replace(line.owner, **of), line.segment, line.unit_pico, line.list_unit_pico
        quantity, cost = sums.get(name, (0, 0))
        sums[name] = quantity + line.quantity, cost + line.cost_pico
    rows = [
        Line(bucket, owner, segment, quantity, pico, cost, listed)
        for (bucket, owner, segment, pico, listed), (quantity, cost) in sums.items()
    ]
    return sorted(rows, key=lambda line: (line.bucket, line.owner, order_of(line.segment), line.unit_pico or 0, line.list_unit_pico or 0))


def order_of(segment: str) -> int:
    """Segments in the order in which people read them."""
    return list(METERS).index(segment)


def cache_savings(usage: Usage, card: Card) -> int:
    """What reading from the cache saved, in pico-USD: what those tokens would have cost uncached, less what they did."""
    saved = 0
    for cached, plain in _UNCACHED.items():
        full, paid = card.weights[_AT[plain]], card.weights[_AT[cached]]
        if full is not None and paid is not None:
            saved += getattr(usage, cached) * (full - paid)
    return saved


_UNCACHED: Mapping[Segment, Segment] = {"cache_read": "uncached", "audio_read": "audio_in", "image_read": "image_in"}
_AT: Mapping[Segment, int] = {segment: at for at, segment in enumerate(SEGMENTS)}
