"""One row of a price book: what a token of each segment costs from a day on, in integers of pico-USD.

A row is written by people in dollars a million tokens, as text, and compiled once. What it does not price apart costs what its whole does:
a cached token what an input token does, a thought what an output token does, a picture what text does. One thing is never guessed: how
much longer a write to the cache is paid for where only the shortest is known.

A request longer than a step of the row (`above`) is priced by that step as a whole. A service tier has a row of its own beside the
standard one (`tiers`). What no row covers is unpriced, which is not the same as free.
"""

import tomllib
import zlib
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from functools import cached_property

import msgspec

from headrace.core.clock import SECOND, Moment
from headrace.core.money import PICO_PER_USD, pico_per_token
from headrace.core.usage import OUTPUTS, SEGMENTS, Segment

DAY = 86_400 * SECOND
STANDARD = "standard"
REQUEST = "request"
"""The fee that is due once for each request, whatever it used."""
MULTIPLE_MAX = 1_000
_EPOCH = date(1970, 1, 1)


class UsdPerMtok(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prices as people write them: dollars a million tokens, as text. Without a price of its own, what is cached costs the input's."""

    input: str
    cached_input: str | None = None
    output: str | None = None
    cache_write: str | None = None
    cache_write_30m: str | None = None
    cache_write_1h: str | None = None
    cache_write_12h: str | None = None
    reasoning: str | None = None
    audio_input: str | None = None
    audio_cached_input: str | None = None
    audio_output: str | None = None
    image_input: str | None = None
    image_cached_input: str | None = None
    image_output: str | None = None


class Above(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a request costs that has more than `tokens_in` tokens of input: all of it, not just those above."""

    tokens_in: int
    usd_per_mtok: UsdPerMtok

    def __post_init__(self) -> None:
        if self.tokens_in < 1:
            raise ValueError("above.tokens_in is at least 1")


class WrittenPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A row as people write it. `tiers`: by which number all its prices are multiplied in a service tier, as text. `usd_per_call`: what one
    call of a tool costs that the vendor runs, and `request` what each request does. `valid_to`: the first day on which it holds no more."""

    model: str
    usd_per_mtok: UsdPerMtok
    source: str
    valid_from: date | None = None
    valid_to: date | None = None
    above: tuple[Above, ...] = ()
    tiers: Mapping[str, str] = {}
    usd_per_call: Mapping[str, str] = {}


class Step(msgspec.Struct, frozen=True):
    """The row that holds for a request with more than `tokens_in` tokens of input."""

    tokens_in: int
    price: "Price"


class Price(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One row: what a token of `model` costs from `valid_from` on, in pico-USD. `output_pico` of None: no price for output is known.

    `more` has the segments that are priced apart, `fees` what a call costs. `tiers` are the rows of the same model in other service tiers.
    `recorded` is when the book learned of it: 0 for what it always knew. `listed` is the list price where a customer has another.
    """

    id: str
    model: str
    valid_from: Moment
    input_pico: int
    cached_input_pico: int
    output_pico: int | None
    source: str
    valid_to: Moment | None = None
    recorded: Moment = 0
    tier: str = STANDARD
    more: Mapping[Segment, int] = {}
    above: tuple[Step, ...] = ()
    tiers: Mapping[str, "Price"] = {}
    fees: Mapping[str, int] = {}
    listed: "Price | None" = None

    @cached_property
    def weights(self) -> tuple[int | None, ...]:
        """What a token of each segment costs, in the order of `Usage`; None: nobody knows."""
        priced: dict[Segment, int | None] = {"uncached": self.input_pico, "cache_read": self.cached_input_pico, "output": self.output_pico}
        for segment, whole in _WHOLE.items():
            priced[segment] = self.more.get(segment, priced[whole])
        if "cache_write" in self.more and "cache_write_1h" not in self.more:
            priced["cache_write_1h"] = None
        return tuple(priced[segment] for segment in SEGMENTS)

    @cached_property
    def whole(self) -> tuple[int, ...] | None:
        """The same where every segment has a price; None: one has none."""
        known = tuple(pico for pico in self.weights if pico is not None)
        return known if len(known) == len(SEGMENTS) else None

    @cached_property
    def dearest(self) -> tuple[int, int | None]:
        """The most that a token of input and one of the answer can cost; None: no price for an answer is known."""
        priced = [(segment, pico) for segment, pico in zip(SEGMENTS, self.weights, strict=True) if pico is not None]
        input_pico = max(pico for segment, pico in priced if segment not in OUTPUTS)
        return input_pico, None if self.output_pico is None else max(pico for segment, pico in priced if segment in OUTPUTS)

    def renamed(self, model: str) -> "Price":
        """The same under another name of the model."""
        if model == self.model:
            return self
        return msgspec.structs.replace(
            self,
            id=model + self.id.removeprefix(self.model),
            model=model,
            above=tuple(Step(step.tokens_in, step.price.renamed(model)) for step in self.above),
            tiers={tier: other.renamed(model) for tier, other in self.tiers.items()},
        )

    def at(self, tokens_in: int) -> "Price":
        """The row for a request of that length."""
        found = self
        for step in self.above:
            if tokens_in > step.tokens_in:
                found = step.price
        return found


_WHOLE: Mapping[Segment, Segment] = {
    "cache_write": "uncached",
    "cache_write_30m": "cache_write",
    "cache_write_1h": "cache_write",
    "cache_write_12h": "cache_write",
    "reasoning": "output",
    "audio_in": "uncached",
    "image_in": "uncached",
    "audio_read": "cache_read",
    "image_read": "cache_read",
    "audio_out": "output",
    "image_out": "output",
}
"""What a segment is a part of, whose price it has where it has none of its own."""

_APART: Mapping[str, Segment] = {
    "cache_write": "cache_write",
    "cache_write_30m": "cache_write_30m",
    "cache_write_1h": "cache_write_1h",
    "cache_write_12h": "cache_write_12h",
    "reasoning": "reasoning",
    "audio_input": "audio_in",
    "audio_cached_input": "audio_read",
    "audio_output": "audio_out",
    "image_input": "image_in",
    "image_cached_input": "image_read",
    "image_output": "image_out",
}
"""The names under which people price a segment apart."""


def agreed(price: Price, listed: Price) -> Price:
    """A customer's own price, which knows the list price beside it: that of the same tier and length."""

    def beside(own: Price, its: Price | None) -> Price:
        plain = None if its is None else msgspec.structs.replace(its, tiers={}, above=())
        steps = tuple(Step(step.tokens_in, beside(step.price, None if its is None else its.at(step.tokens_in + 1))) for step in own.above)
        return msgspec.structs.replace(own, listed=plain, above=steps)

    tiers = {tier: beside(own, listed.tiers.get(tier)) for tier, own in price.tiers.items()}
    return msgspec.structs.replace(beside(price, listed), tiers=tiers)


def share_of(price: Price, permille: int, mark: str = "*") -> Price:
    """A row at so many thousandths of its prices, such as the 500 of the batch class; half a pico-USD is rounded up.

    `mark` goes before the number in its id, and says for whom the prices differ."""

    def part(pico: int) -> int:
        return (pico * permille + 500) // 1_000

    def whole(of: Price) -> Price:
        return msgspec.structs.replace(
            of,
            id=f"{of.id}{mark}{permille}",
            input_pico=part(of.input_pico),
            cached_input_pico=part(of.cached_input_pico),
            output_pico=None if of.output_pico is None else part(of.output_pico),
            more={segment: part(pico) for segment, pico in of.more.items()},
            fees={name: part(pico) for name, pico in of.fees.items()},
            above=tuple(Step(step.tokens_in, whole(step.price)) for step in of.above),
            tiers={tier: whole(other) for tier, other in of.tiers.items()},
            listed=None if of.listed is None else whole(of.listed),
        )

    return whole(price)


def price_row(*, model: str, usd_per_mtok: UsdPerMtok, source: str, valid_from: date | None = None) -> Price:
    """A row from what an operator wrote; without a date it holds always. Its id names its content, so an edited price gets another id.

    Raises ValueError for an amount that is not a price.
    """
    return compiled(WrittenPrice(model=model, usd_per_mtok=usd_per_mtok, source=source, valid_from=valid_from))


def compiled(row: WrittenPrice, *, recorded: Moment = 0, prefix: str = "") -> Price:
    """An operator's row in integers; `prefix` goes before its id. Raises ValueError for an amount that is not a price."""
    content = zlib.crc32(msgspec.json.encode(_said(row)))
    return _price(row, f"{prefix}{row.model}@{row.valid_from or 'always'}-{content:08x}", recorded)


def parse_prices(text: str) -> tuple[Price, ...]:
    """The rows of a book's TOML, such as the shipped `prices.toml`. Raises ValueError that says what is wrong, and in which row."""
    return tuple(_price(row, f"{row.model}@{row.valid_from or 'always'}", 0) for row in read_prices(text))


def read_prices(text: str) -> tuple[WrittenPrice, ...]:
    """The rows of a book's TOML as they are written. Raises ValueError."""
    try:
        return msgspec.convert(tomllib.loads(text), _Book).price
    except msgspec.ValidationError as wrong:
        raise ValueError(f"the price book is not right: {wrong}") from None


def tier_of(said: str | None) -> str | None:
    """A service tier by the name that the book has for it; None: none was named, or whichever the vendor likes."""
    return _TIERS.get(said, said) if said else None


_TIERS = {"default": STANDARD, "standard_only": STANDARD, "fast": "priority", "auto": None}


def moment_of(day: date) -> Moment:
    """The first moment of a day, UTC."""
    return (day - _EPOCH).days * DAY


def day_of(moment: Moment) -> date:
    """The day of a moment, UTC."""
    return _EPOCH + timedelta(days=moment // DAY)


def permille_of(multiple: str) -> int:
    """Thousandths from a number as text: `"0.5"` is 500. Raises ValueError for what is no number, negative, or finer."""
    try:
        number = Decimal(multiple) * 1_000
    except InvalidOperation:
        raise ValueError(f'{multiple!r} is not a number to multiply prices by, such as "0.5"') from None
    if not (number.is_finite() and 0 <= number <= MULTIPLE_MAX * 1_000) or number != int(number):
        raise ValueError(f"{multiple!r} is not a number to multiply prices by: 0 to {MULTIPLE_MAX}, in thousandths")
    return int(number)


def pico_of(usd: str) -> int:
    """Pico-USD from dollars as text, such as what a call costs. Raises ValueError."""
    try:
        amount = Decimal(usd)
    except InvalidOperation:
        raise ValueError(f'{usd!r} is not an amount of dollars, such as "0.01"') from None
    if not (amount.is_finite() and 0 <= amount < 10**6):
        raise ValueError(f"{usd!r} is not an amount of dollars: zero to a million")
    numerator, denominator = amount.as_integer_ratio()
    pico, finer = divmod(numerator * PICO_PER_USD, denominator)
    if finer:
        raise ValueError(f"{usd!r} is finer than the book keeps: at most twelve decimal places of a dollar")
    return pico


class _Book(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    price: tuple[WrittenPrice, ...] = ()


def _said(row: WrittenPrice) -> list[object]:
    """What of a row makes it another when it is edited: its numbers, however they are written."""
    plain = _flat(row.usd_per_mtok)
    steps = [[step.tokens_in, _flat(step.usd_per_mtok)] for step in row.above]
    tiers = {tier: permille_of(multiple) for tier, multiple in sorted(row.tiers.items())}
    return [plain, steps, tiers, {name: pico_of(usd) for name, usd in sorted(row.usd_per_call.items())}, str(row.valid_to)]


def _flat(usd: UsdPerMtok) -> dict[str, int]:
    said = msgspec.structs.asdict(usd)
    return {name: pico_per_token(text) for name, text in said.items() if text is not None}


def _price(row: WrittenPrice, id: str, recorded: Moment) -> Price:
    if row.valid_from and row.valid_to and row.valid_to <= row.valid_from:
        raise ValueError(f"the price of {row.model} from {row.valid_from} on ends before it begins")
    try:
        fees = {name: pico_of(usd) for name, usd in row.usd_per_call.items()}
        base = _rates(row, row.usd_per_mtok, id, recorded, fees)
        above = sorted(row.above, key=lambda one: one.tokens_in)
        steps = [Step(one.tokens_in, _rates(row, one.usd_per_mtok, f"{id}>{one.tokens_in}", recorded, fees)) for one in above]
        base = msgspec.structs.replace(base, above=tuple(steps))
        tiers = {tier: _in_tier(base, tier, permille_of(multiple)) for tier, multiple in row.tiers.items()}
    except ValueError as wrong:
        raise ValueError(f"the price of {row.model} from {row.valid_from or 'always'} on: {wrong}") from None
    return msgspec.structs.replace(base, tiers=tiers)


def _rates(row: WrittenPrice, usd: UsdPerMtok, id: str, recorded: Moment, fees: Mapping[str, int]) -> Price:
    said = _flat(usd)
    input_pico = said["input"]
    return Price(
        id=id,
        model=row.model,
        valid_from=moment_of(row.valid_from or _EPOCH),
        valid_to=None if row.valid_to is None else moment_of(row.valid_to),
        recorded=recorded,
        input_pico=input_pico,
        cached_input_pico=said.get("cached_input", input_pico),
        output_pico=said.get("output"),
        more={segment: said[name] for name, segment in _APART.items() if name in said},
        fees=fees,
        source=row.source,
    )


def _in_tier(base: Price, tier: str, permille: int) -> Price:
    """The row of a service tier; calls of tools cost the same in each."""

    def named(price: Price) -> Price:
        return msgspec.structs.replace(
            price, tier=tier, fees=base.fees, above=tuple(Step(s.tokens_in, named(s.price)) for s in price.above)
        )

    return named(share_of(base, permille, f":{tier}*"))
