"""Usage and what it costs as FOCUS 1.2 (FinOps Open Cost and Usage Specification), one row a day, owner, price and segment.

The billing account is the organisation, the sub account the project, the resource the API key. A token's direction and what its cache did
stand in `SkuPriceDetails`, under the names that the specification is about to take on. Costs have all twelve decimals. On an invoice that
was issued, what its rounding left out is a row of its own, so that the rows of an invoice add up to what is asked for.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

import msgspec

from headrace.core.money import PICO_PER_USD
from headrace.metering.hledger import exact
from headrace.metering.invoices import Invoice
from headrace.metering.lines import FEES, HELD, METERS, Line, Owner
from headrace.metering.prices import DAY, day_of

COLUMNS = (
    "AvailabilityZone", "BilledCost", "BillingAccountId", "BillingAccountName", "BillingAccountType", "BillingCurrency", "BillingPeriodEnd",
    "BillingPeriodStart", "CapacityReservationId", "CapacityReservationStatus", "ChargeCategory", "ChargeClass", "ChargeDescription",
    "ChargeFrequency", "ChargePeriodEnd", "ChargePeriodStart", "CommitmentDiscountCategory", "CommitmentDiscountId",
    "CommitmentDiscountName", "CommitmentDiscountQuantity", "CommitmentDiscountStatus", "CommitmentDiscountType",
    "CommitmentDiscountUnit", "ConsumedQuantity", "ConsumedUnit", "ContractedCost", "ContractedUnitPrice", "EffectiveCost", "InvoiceId",
    "InvoiceIssuerName", "ListCost", "ListUnitPrice", "PricingCategory", "PricingCurrency", "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyEffectiveCost", "PricingCurrencyListUnitPrice", "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName",
    "RegionId", "RegionName", "ResourceId", "ResourceName", "ResourceType", "ServiceCategory", "ServiceName", "ServiceSubcategory", "SkuId",
    "SkuMeter", "SkuPriceDetails", "SkuPriceId", "SubAccountId", "SubAccountName", "SubAccountType", "Tags",
)  # fmt: skip
PROVIDER = "headrace"
_READ = frozenset(("cache_read", "audio_read", "image_read"))
_OUT = frozenset(("output", "reasoning", "audio_out", "image_out"))
Row = Mapping[str, str]


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """What is not in a line: the names of keys, and who made a model."""

    keys: Mapping[str, str] = {}
    publishers: Mapping[str, str] = {}
    issuer: str = PROVIDER


def rows_of(lines: Iterable[Line], names: Names, invoices: Mapping[tuple[str, str], Invoice] | None = None) -> Iterator[Row]:
    """Rows of lines in buckets of a day. `invoices`: what was issued, by organisation and month; each ends with a row of its rounding and
    what else stands on it."""
    issued = invoices or {}
    for line in lines:
        day = day_of(line.bucket * DAY)
        made = issued.get((line.owner.organization, f"{day:%Y-%m}"))
        yield _usage(line, names, "" if made is None else made.number)
    for made in issued.values():
        yield from _others(made, names)


def _usage(line: Line, names: Names, invoice: str) -> Row:
    owner, counted = line.owner, line.unit_pico is not None
    start = line.bucket * DAY
    cost, unit = exact(line.cost_pico), _each(line) if line.unit_pico is None else _per_million(line.unit_pico)
    listed = unit if line.list_unit_pico is None else _per_million(line.list_unit_pico)
    pricing = _number(line.quantity, 10**6) if counted else _number(line.quantity, 1)
    meter = METERS[line.segment]
    return {
        **_common(owner.organization, day_of(start).strftime("%Y-%m"), names, invoice),
        "BilledCost": cost,
        "ChargeCategory": "Usage",
        "ChargeDescription": f"{owner.model}: {meter.lower()}" + (f", {owner.tier} tier" if owner.tier else ""),
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": _time(start),
        "ChargePeriodEnd": _time(start + DAY),
        "ConsumedQuantity": _number(line.quantity, 1),
        "ConsumedUnit": "Tokens" if counted or line.segment not in (HELD, FEES) else "Requests",
        "ContractedCost": cost,
        "ContractedUnitPrice": unit,
        "EffectiveCost": cost,
        "ListCost": exact(line.list_pico),
        "ListUnitPrice": listed,
        "PricingCategory": "Standard",
        "PricingCurrency": "USD",
        "PricingCurrencyContractedUnitPrice": unit,
        "PricingCurrencyEffectiveCost": cost,
        "PricingCurrencyListUnitPrice": listed,
        "PricingQuantity": pricing,
        "PricingUnit": "1000000 Tokens" if counted else "Tokens" if line.segment not in (HELD, FEES) else "Requests",
        "ResourceId": owner.key,
        "ResourceName": names.keys.get(owner.key, owner.key),
        "ResourceType": "API key",
        "PublisherName": names.publishers.get(owner.model, PROVIDER),
        "ServiceName": "Inference",
        "SkuId": f"{owner.model}/{line.segment}",
        "SkuMeter": meter,
        "SkuPriceDetails": _details(line),
        "SkuPriceId": f"{owner.model}/{line.segment}/{owner.tier or 'standard'}/{owner.price or 'none'}",
        "SubAccountId": f"{owner.organization}/{owner.project}",
        "SubAccountName": owner.project,
        "SubAccountType": "Project",
        "Tags": _tags(owner),
    }


def _others(made: Invoice, names: Names) -> Iterator[Row]:
    """What stands on an invoice beside its usage: corrections, credits, adjustments, and the rounding."""
    for line in made.lines:
        if line.kind != "usage" and line.exact_pico:
            category = "Credit" if line.kind == "credit" else "Usage" if line.kind == "correction" else "Adjustment"
            yield _other(made, names, category, line.exact_pico, line.memo or line.kind, correction=line.kind == "correction")
    if made.residue_pico:
        yield _other(made, names, "Adjustment", -made.residue_pico, f"Rounding of invoice {made.number}", correction=False)


def _other(made: Invoice, names: Names, category: str, pico: int, what: str, *, correction: bool) -> Row:
    common = _common(made.organization, made.month, names, made.number)
    return {
        **common,
        "BilledCost": exact(pico),
        "ChargeCategory": "Adjustment" if correction else category,
        "ChargeClass": "Correction" if correction else "",
        "ChargeDescription": what,
        "ChargeFrequency": "One-Time",
        "ChargePeriodStart": common["BillingPeriodStart"],
        "ChargePeriodEnd": common["BillingPeriodEnd"],
        "ContractedCost": exact(pico),
        "EffectiveCost": exact(pico),
        "ListCost": exact(pico),
        "PricingCurrency": "USD",
        "PricingCurrencyEffectiveCost": exact(pico),
        "PublisherName": PROVIDER,
        "ServiceName": "Billing",
    }


def _common(organization: str, month: str, names: Names, invoice: str) -> dict[str, str]:
    start = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    end = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    return {
        **dict.fromkeys(COLUMNS, ""),
        "BillingAccountId": organization,
        "BillingAccountName": organization,
        "BillingAccountType": "Organization",
        "BillingCurrency": "USD",
        "BillingPeriodStart": start.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "BillingPeriodEnd": end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "InvoiceId": invoice,
        "InvoiceIssuerName": names.issuer,
        "ProviderName": PROVIDER,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceSubcategory": "Generative AI",
    }


def _details(line: Line) -> str:
    if line.unit_pico is None:
        return "{}"
    direction = "Output" if line.segment in _OUT else "Input"
    cache = "Read" if line.segment in _READ else "Write" if line.segment.startswith("cache_write") else "Uncached"
    told = {"x_TokenDirection": direction} | ({"x_TokenCacheAction": cache} if direction == "Input" else {})
    media = line.segment.partition("_")[0]
    return msgspec.json.encode(told | {"x_Modality": media if media in ("audio", "image") else "text"}).decode()


def _tags(owner: Owner) -> str:
    return msgspec.json.encode({"class": owner.traffic_class, "operation": owner.operation, "pool": owner.pool}).decode()


def _each(line: Line) -> str:
    """The price of one, where a line has none: what it cost, shared out."""
    return exact(line.cost_pico // line.quantity) if line.quantity else exact(0)


def _per_million(pico: int) -> str:
    return _number(pico * 10**6, PICO_PER_USD)


def _number(value: int, divisor: int) -> str:
    """An exact decimal, always with a point."""
    whole, rest = divmod(value, divisor)
    digits = len(str(divisor)) - 1
    return f"{whole}.{rest:0{digits}d}" if digits else f"{whole}.0"


def _time(moment: int) -> str:
    return datetime.fromtimestamp(moment // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
