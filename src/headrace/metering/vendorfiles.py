"""What a vendor says it has billed, as its reports, its log of requests or a plain table tell it: by day and model, or by request."""

import csv
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from headrace.core.clock import SECOND, Moment
from headrace.core.money import PICO_PER_USD
from headrace.core.usage import NOTHING, Usage
from headrace.metering.prices import day_of, tier_of


class Billed(msgspec.Struct, frozen=True, kw_only=True):
    """What was billed for one day and model; with a `moment`, for one request that the vendor served then, and names `id`. What the file
    does not tell is None. `unit_pico` is the smallest step of its amounts."""

    day: date
    model: str
    usage: Usage | None = None
    requests: int | None = None
    pico: int | None = None
    unit_pico: int = 1
    tier: str | None = None
    moment: Moment | None = None
    id: str = ""


def read_billed(text: str) -> tuple[Billed, ...]:
    """OpenAI's usage or costs, Anthropic's usage or cost report (JSON), Bedrock's log of invocations (JSON lines), or a table with a head
    (CSV: day or time, model, and any of id, requests, input_tokens, cached_tokens, cache_write_tokens, output_tokens, cost_usd, tier); with
    a time each row is a request. Raises ValueError for anything else."""
    if text.lstrip().startswith("{"):
        if '"ModelInvocationLog"' in text[:10_000]:
            return tuple(_invocations(text))
        try:
            return tuple(_pages(msgspec.json.decode(text, type=_Page)))
        except (msgspec.MsgspecError, InvalidOperation, KeyError) as wrong:
            raise ValueError(f"this is no usage or cost report of OpenAI or Anthropic: {wrong}") from None
    return tuple(_table(text))


def added(rows: Iterable[Billed]) -> dict[tuple[date, str], Billed]:
    """One row a day and model: usage and costs that stand in different rows, or files, brought together."""
    found: dict[tuple[date, str], Billed] = {}
    for row in rows:
        earlier = found.get((row.day, row.model))
        found[row.day, row.model] = row if earlier is None else _both(earlier, row)
    return found


class _Bucket(msgspec.Struct):
    results: list[dict[str, Any]]
    start_time: int | None = None
    starting_at: str | None = None

    @property
    def day(self) -> date:
        if self.start_time is not None:
            return datetime.fromtimestamp(self.start_time, UTC).date()
        if self.starting_at is not None:
            return date.fromisoformat(self.starting_at[:10])
        raise ValueError("a bucket of the report has no start")


class _Page(msgspec.Struct):
    data: list[_Bucket]


def _pages(page: _Page) -> Iterator[Billed]:
    for bucket in page.data:
        for result in bucket.results:
            yield _result(bucket.day, result)


def _result(day: date, told: Mapping[str, Any]) -> Billed:
    kind = str(told.get("object") or "")
    model = str(told.get("model") or "")
    if kind == "organization.costs.result":
        item = str(told.get("line_item") or "")
        amount = Decimal(str(told["amount"]["value"]))
        return Billed(day=day, model=item.partition(",")[0], pico=_pico(amount), unit_pico=_unit(amount))
    if kind.startswith("organization.usage."):
        return Billed(
            day=day, model=model, usage=_openai(told), requests=told["num_model_requests"], tier=tier_of(told.get("service_tier"))
        )
    if "uncached_input_tokens" in told:
        return Billed(day=day, model=model, usage=_anthropic(told), tier=tier_of(told.get("service_tier")))
    amount = Decimal(str(told["amount"])) / 100  # Anthropic's are in cents
    return Billed(day=day, model=model, pico=_pico(amount), unit_pico=_unit(amount))


def _openai(told: Mapping[str, Any]) -> Usage:
    cached, written = told.get("input_cached_tokens") or 0, told.get("input_cache_write_tokens") or 0
    return Usage(told["input_tokens"] - cached - written, cached, written, told.get("output_tokens") or 0)


def _anthropic(told: Mapping[str, Any]) -> Usage:
    written = told.get("cache_creation") or {}
    return Usage(
        told["uncached_input_tokens"],
        told.get("cache_read_input_tokens") or 0,
        written.get("ephemeral_5m_input_tokens") or 0,
        told.get("output_tokens") or 0,
        cache_write_1h=written.get("ephemeral_1h_input_tokens") or 0,
    )


class _Invocation(msgspec.Struct, rename="camel"):
    timestamp: datetime
    request_id: str
    model_id: str
    input: dict[str, Any] = {}
    output: dict[str, Any] = {}


def _invocations(text: str) -> Iterator[Billed]:
    """Each line is a call, as CloudWatch and S3 have it; the model may be named by the ARN of a profile."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            told = msgspec.json.decode(line, type=_Invocation)
            cached, written = (int(told.input.get(name) or 0) for name in ("cacheReadInputTokenCount", "cacheWriteInputTokenCount"))
            usage = Usage(int(told.input["inputTokenCount"]), cached, written, int(told.output.get("outputTokenCount") or 0))
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as wrong:
            raise ValueError(f"line {number} is no record of Bedrock's log of invocations: {wrong}") from None
        moment = _moment(told.timestamp)
        yield Billed(day=day_of(moment), model=told.model_id.rpartition("/")[2], usage=usage, moment=moment, id=told.request_id)


def _table(text: str) -> Iterator[Billed]:
    rows = csv.DictReader(text.splitlines())
    names = {name.strip().lower() for name in rows.fieldnames or ()}
    if "model" not in names or not names & {"day", "time"}:
        raise ValueError(f"a table needs the columns model, and day or time; this one has {', '.join(sorted(names)) or 'none'}")
    for number, row in enumerate(rows, 2):
        plain = {name.strip().lower(): (value or "").strip() for name, value in row.items() if name}
        try:
            yield _row(plain)
        except (ValueError, InvalidOperation) as wrong:
            raise ValueError(f"line {number} can't be read: {wrong}") from None


def _row(row: Mapping[str, str]) -> Billed:
    counts = {name: int(row[name]) for name in ("input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens") if row.get(name)}
    cached, written = counts.get("cached_tokens", 0), counts.get("cache_write_tokens", 0)
    usage = Usage(counts.get("input_tokens", 0) - cached - written, cached, written, counts.get("output_tokens", 0)) if counts else None
    amount = Decimal(row["cost_usd"]) if row.get("cost_usd") else None
    moment = _moment(datetime.fromisoformat(row["time"])) if row.get("time") else None
    return Billed(
        day=date.fromisoformat(row["day"]) if moment is None else day_of(moment),
        model=row["model"],
        usage=usage,
        requests=int(row["requests"]) if row.get("requests") else None,
        pico=None if amount is None else _pico(amount),
        unit_pico=1 if amount is None else _unit(amount),
        tier=tier_of(row.get("tier")),
        moment=moment,
        id=row.get("id", ""),
    )


def _moment(time: datetime) -> Moment:
    """Without a zone it is UTC."""
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1_000) * (SECOND // 1_000)


def _pico(amount: Decimal) -> int:
    return round(amount * PICO_PER_USD)


def _unit(amount: Decimal) -> int:
    """Of an amount as it is written, what its last digit stands for."""
    exponent = amount.as_tuple().exponent
    return max(1, PICO_PER_USD // 10 ** -min(0, exponent)) if isinstance(exponent, int) else 1


def _both(one: Billed, other: Billed) -> Billed:
    usage = None
    if one.usage is not None or other.usage is not None:
        pairs = zip(msgspec.structs.astuple(one.usage or NOTHING), msgspec.structs.astuple(other.usage or NOTHING), strict=True)
        usage = Usage(*(a + b for a, b in pairs))
    return Billed(
        day=one.day,
        model=one.model,
        usage=usage,
        requests=None if one.requests is None and other.requests is None else (one.requests or 0) + (other.requests or 0),
        pico=None if one.pico is None and other.pico is None else (one.pico or 0) + (other.pico or 0),
        unit_pico=max(one.unit_pico, other.unit_pico),
        tier=one.tier or other.tier,
    )
