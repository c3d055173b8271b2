"""Compile vendors' published prices into integer rows: src/headrace/metering/data/catalogue.json, from the package genai-prices (MIT).

    python scripts/catalogue.py            # where genai-prices is installed; nothing of headrace needs it at run time

Every price is a row from a day on, in pico-USD a token by segment. What the package can't say exactly is left out rather than guessed: rows
that hold at some hours of the day only, prices finer than a pico-USD, models that are known and have no rates.
"""

import json
import sys
from datetime import date
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path

from genai_prices.data import providers
from genai_prices.types import ConditionalPrice, ModelInfo, ModelPrice, Provider, StartDateConstraint, TieredPrices

OUT = Path(__file__).resolve().parents[1] / "src" / "headrace" / "metering" / "data" / "catalogue.json"
SEGMENTS = {
    "input_mtok": "uncached",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "audio_in",
    "input_image_mtok": "image_in",
    "cache_audio_read_mtok": "audio_read",
    "cache_image_read_mtok": "image_read",
    "output_audio_mtok": "audio_out",
    "output_image_mtok": "image_out",
    "output_reasoning_mtok": "reasoning",
}
FEES = {"web_searches_kcount": "web_search", "storage_searches_kcount": "file_search", "requests_kcount": "request"}
EPOCH = date(1970, 1, 1)
Prices = dict[str, object]


def pico(usd: Decimal, per: int) -> int:
    exact = usd * (10**12 // per)
    if exact != int(exact):
        raise ValueError(f"{usd} is finer than a pico-USD")
    return int(exact)


def rates(prices: Prices) -> tuple[dict[str, int], list[list[object]]]:
    """By segment, and for each threshold the rates above it."""
    base, starts = {}, set()
    for key, segment in SEGMENTS.items():
        value = prices.get(key)
        if value is not None:
            base[segment] = pico(value.base if isinstance(value, TieredPrices) else value, 10**6)
            starts |= {tier.start for tier in value.tiers} if isinstance(value, TieredPrices) else set()
    above = []
    for start in sorted(starts):
        held = dict(base)
        for key, segment in SEGMENTS.items():
            value = prices.get(key)
            if isinstance(value, TieredPrices):
                passed = [tier.price for tier in value.tiers if tier.start <= start]
                held[segment] = pico(passed[-1] if passed else value.base, 10**6)
        above.append([start, held])
    return base, above


def said(prices: ModelPrice) -> Prices:
    return {name: value for name, value in prices.__dict__.items() if value is not None and not name.startswith("_")}


def conditions(model: ModelInfo) -> list[tuple[date, Prices]]:
    if isinstance(model.prices, ModelPrice):
        return [(EPOCH, said(model.prices))]
    rows = []
    for one in model.prices:
        assert isinstance(one, ConditionalPrice)
        if one.constraint is None:
            rows.append((EPOCH, said(one.prices)))
        elif isinstance(one.constraint, StartDateConstraint):
            rows.append((one.constraint.start_date, said(one.prices)))
    return rows


def variants(model: ModelInfo) -> list[tuple[str, date, Prices]]:
    """Service tiers, and batch, which is priced as one."""
    found = []
    for one in model.price_variants or ():
        tier = one.when.get("service_tier") or ("batch" if one.when == {"processing": "batch"} else None)
        if len(one.when) != 1 or tier in (None, "default", "fast"):
            continue
        if one.constraint is None:
            found.append((tier, EPOCH, said(one.prices)))
        elif isinstance(one.constraint, StartDateConstraint):
            found.append((tier, one.constraint.start_date, said(one.prices)))
    return found


def rows(provider: Provider, model: ModelInfo) -> list[list[object]]:
    based, tiered = conditions(model), variants(model)
    made = []
    for start in sorted({day for day, _ in based} | {day for _, day, _ in tiered}):
        holding = [prices for day, prices in based if day <= start]
        if not holding or "input_mtok" not in holding[-1]:
            continue
        base, above = rates(holding[-1])
        tiers = {tier: rates(holding[-1] | prices) for tier, day, prices in tiered if day <= start}
        fees = {name: pico(holding[-1][key], 1_000) for key, name in FEES.items() if isinstance(holding[-1].get(key), Decimal)}
        made.append([provider.id, model.id, (start - EPOCH).days, base, above, tiers, fees])
    return made


def aliases(provider: Provider) -> dict[str, str]:
    """Other exact names of a model."""
    named = {}
    for model in provider.models:
        clauses = getattr(model.match, "or_", [model.match])
        named |= {clause.equals: model.id for clause in clauses if getattr(clause, "equals", model.id) != model.id}
    return named


def main() -> None:
    table, skipped = [], 0
    for provider in providers:
        for model in provider.models:
            try:
                table += rows(provider, model)
            except ValueError:
                skipped += 1
    book = {
        "source": f"genai-prices {version('genai-prices')}",
        "fallbacks": {provider.id: provider.fallback_model_providers for provider in providers if provider.fallback_model_providers},
        "aliases": {provider.id: named for provider in providers if (named := aliases(provider))},
        "rows": table,
    }
    lines = ",\n".join(json.dumps(row, separators=(",", ":")) for row in book.pop("rows"))
    head = json.dumps(book, separators=(",", ":"))[:-1]
    OUT.write_text(f'{head},\n"rows":[\n{lines}\n]}}\n', encoding="utf-8")
    sys.stdout.write(f"{len(table)} rows of {len(providers)} vendors; {skipped} models left out\n")


if __name__ == "__main__":
    main()
