"""Vendors' published prices, compiled into integers when the package was made: what a buyer pays at list, and the list of last resort for
what is sold."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import msgspec

from headrace.core.usage import Segment
from headrace.metering.prices import DAY, Price, Step

Rates: TypeAlias = Mapping[Segment, int]
Steps: TypeAlias = Sequence[tuple[int, Rates]]
MAKERS = (
    "openai",
    "anthropic",
    "google",
    "mistral",
    "deepseek",
    "x-ai",
    "cohere",
    "moonshotai",
    "zai",
    "minimax",
    "perplexity",
    "voyageai",
)
"""Whose own price is taken where we sell a model and say no price: the first that has the model."""
DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})$")
"""A dated name of a model; without its date it is the model's."""


class _Row(msgspec.Struct, frozen=True, array_like=True):
    vendor: str
    model: str
    day: int
    rates: dict[Segment, int]
    above: list[tuple[int, dict[Segment, int]]]
    tiers: dict[str, tuple[dict[Segment, int], list[tuple[int, dict[Segment, int]]]]]
    fees: dict[str, int]


class _File(msgspec.Struct, frozen=True):
    source: str
    fallbacks: dict[str, list[str]]
    aliases: dict[str, dict[str, str]]
    rows: list[_Row]


class Catalogue:
    """The rows, by vendor and the vendor's own name of the model."""

    def __init__(self, text: str | bytes) -> None:
        """Raises msgspec.MsgspecError for what is no catalogue."""
        file = msgspec.json.decode(text, type=_File)
        self.source, self._fallbacks, self._aliases = file.source, file.fallbacks, file.aliases
        self._rows: dict[tuple[str, str], list[_Row]] = {}
        for row in file.rows:
            self._rows.setdefault((row.vendor, row.model), []).append(row)

    def bought(self, vendor: str, model: str) -> tuple[Price, ...]:
        """What `vendor` charges for `model`, whatever of its names is used: every row, under `vendor/model`. Empty: nobody knows."""
        for seller in (vendor, *self._fallbacks.get(vendor, ())):
            for name in self._names(seller, model):
                if rows := self._rows.get((seller, name)):
                    return tuple(self._price(row, f"{vendor}/{model}") for row in rows)
        return ()

    def sold(self, model: str) -> tuple[Price, ...]:
        """What its maker charges for `model`: every row. Empty: none of the makers has it, or it costs nothing there."""
        for maker in MAKERS:
            if rows := self._rows.get((maker, model)):
                return tuple(self._price(row, model) for row in rows if any(row.rates.values()))
        return ()

    def models(self) -> Iterator[str]:
        """What `sold` knows, each once."""
        yield from sorted({model for vendor, model in self._rows if vendor in MAKERS})

    def _names(self, vendor: str, model: str) -> Iterator[str]:
        yield model
        aliases = self._aliases.get(vendor, {})
        if model in aliases:
            yield aliases[model]
        plain = DATED.sub("", model)
        if plain != model:
            yield plain

    def _price(self, row: _Row, model: str) -> Price:
        id = f"{model}@{row.day or 'always'}/{self.source.replace(' ', '-')}"
        base = self._rates(row, model, id, row.rates, row.above, "standard")
        tiers = {tier: self._rates(row, model, f"{id}:{tier}", rates, above, tier) for tier, (rates, above) in row.tiers.items()}
        return msgspec.structs.replace(base, tiers=tiers)

    def _rates(self, row: _Row, model: str, id: str, rates: Rates, above: Steps, tier: str) -> Price:
        steps = tuple(Step(start, self._rates(row, model, f"{id}>{start}", higher, (), tier)) for start, higher in above)
        return Price(
            id=id,
            model=model,
            valid_from=row.day * DAY,
            input_pico=rates["uncached"],
            cached_input_pico=rates.get("cache_read", rates["uncached"]),
            output_pico=rates.get("output"),
            source=self.source,
            tier=tier,
            more={segment: pico for segment, pico in rates.items() if segment not in ("uncached", "cache_read", "output")},
            above=steps,
            fees=row.fees,
        )
